import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startFakeLlamaServer } from '../../testing/index.ts';
import { createGateway } from '../gateway.ts';
import { LlamaCppProvider } from '../../core/llm/llama-cpp-provider.ts';
import { dataOf, errorOf, modelFolder, nextEvent, record, serve, type Served, StreamReader } from './served-engine.ts';

const RESTART = '/admin/engines/default/restart';
const LINUX = {
  timeout: 120_000,
  skip: process.platform !== 'linux' && 'how much memory an engine has is read in /proc',
};

let folder: Awaited<ReturnType<typeof modelFolder>>;
let slowModel: string;
before(async () => {
  folder = await modelFolder();
  slowModel = await folder.model('slow');
});
after(() => folder[Symbol.asyncDispose]());

interface Restarted {
  status: string;
  generation: { from: number; to: number };
  overlap: boolean;
  slotsRestored: number;
  durationMs: number;
}

async function restart(served: Served): Promise<Restarted> {
  const answer = await served.post(RESTART, {});
  assert.equal(answer.status, 200);
  return (await answer.json()) as Restarted;
}

const completion = (prompt: string, tokens: number, stream: boolean) => ({
  prompt,
  stream,
  n_predict: tokens,
  ignore_eos: true,
  temperature: 0,
});

/** Tokens of a stream of `/completion` that is whole; throws for one that is not. */
function tokensOf(text: string): number {
  const events = dataOf(text);
  const ends = events.filter(({ stop }) => stop === true);
  assert.equal(ends.length, 1, text.slice(-500));
  assert.equal(
    events.find(({ error }) => error !== undefined),
    undefined,
  );
  return Number(ends[0]?.['tokens_predicted']);
}

describe('POST /admin/engines/default/restart', LINUX, () => {
  it('loses nothing, however often: streams and answers are whole', async () => {
    await using served = await serve({ model: slowModel, engine: { parallel: 3 } });
    const continued = record(served, 'stream-continued');
    const retries = record(served, 'retry');
    const over = new AbortController();
    let streams = 0;
    let answers = 0;
    const talk = async (client: number): Promise<void> => {
      while (!over.signal.aborted) {
        const answer = await served.post('/completion', completion(`client ${client}`, 15, client % 2 === 0));
        assert.equal(answer.status, 200);
        if (client % 2 === 0) {
          streams += 1;
          assert.equal(tokensOf(await answer.text()), 15);
        } else {
          answers += 1;
          assert.equal(((await answer.json()) as { tokens_predicted: number }).tokens_predicted, 15);
        }
      }
    };
    const talking = Promise.all([0, 1, 2, 3, 4].map(talk));
    for (let generation = 1; generation <= 4; generation++) {
      const { generation: moved, overlap, status } = await restart(served);
      assert.deepEqual([moved, overlap, status], [{ from: generation, to: generation + 1 }, true, 'restarted']);
    }
    over.abort();
    await talking;
    assert.ok(streams > 0 && answers > 0);
    assert.deepEqual([continued, retries], [[], []]);
  });

  it('moves what does not come to an end: streams go on, answers are made again', async () => {
    await using served = await serve({ model: slowModel, engine: { parallel: 3, drainTimeout: 50 } });
    const continued = record(served, 'stream-continued');
    const alone = await (await served.post('/completion', completion('Hello', 60, false))).json();
    const stream = new StreamReader(await served.post('/completion', completion('Hello', 60, true)));
    const whole = served.post('/completion', completion('Good day', 60, false));
    await stream.next();
    // More often than a stream may go on behind engines that were lost.
    for (let times = 1; times <= 4; times++) {
      const gone = nextEvent(served, 'engine-exit');
      await restart(served);
      await gone;
    }
    const text = await stream.rest();
    assert.equal(tokensOf(text), 60);
    const content = dataOf(text).map(({ content: part }) => part);
    assert.equal(content.join(''), (alone as { content: string }).content);
    assert.equal(((await (await whole).json()) as { tokens_predicted: number }).tokens_predicted, 60);
    assert.ok(continued.length >= 1);
    assert.ok(continued.every(({ cause }) => cause === 'replaced'));
  });

  it('lets those that move have the next free slot, before all who wait', async () => {
    await using served = await serve({ model: slowModel, engine: { parallel: 1, drainTimeout: 800 } });
    const first = new StreamReader(await served.post('/completion', completion('first', 200, true)));
    await first.next();
    await restart(served);
    const gone = nextEvent(served, 'engine-exit');
    // It has the only slot of the new engine when the first one comes over.
    const second = served.post('/completion', completion('second', 120, true));
    const third = served.post('/completion', completion('third', 5, true));
    await gone;
    const ended: string[] = [];
    const note = async (name: string, text: Promise<string>) => {
      assert.ok(tokensOf(await text) > 0);
      ended.push(name);
    };
    await Promise.all([
      note('first', first.rest()),
      note(
        'second',
        second.then((answer) => answer.text()),
      ),
      note(
        'third',
        third.then((answer) => answer.text()),
      ),
    ]);
    assert.deepEqual(ended, ['second', 'first', 'third']);
  });

  it('says that it is under way where nobody wants to wait', async () => {
    await using served = await serve({ model: slowModel });
    const replaced = nextEvent(served, 'engine-replacement');
    const answer = await served.post(`${RESTART}?wait=false`, {});
    assert.deepEqual([answer.status, await answer.json()], [202, { id: 'default', status: 'restarting' }]);
    assert.equal((await replaced).ok, true);
  });

  it('knows one engine, one method, and no third way to wait', async () => {
    await using served = await serve({ model: slowModel });
    const unknown = await served.post('/admin/engines/other/restart', {});
    assert.deepEqual([unknown.status, (await errorOf(unknown)).code], [404, 'not_found']);
    const read = await fetch(served.url + RESTART);
    assert.deepEqual([read.status, (await errorOf(read)).code], [405, 'method_not_allowed']);
    const strange = await served.post(`${RESTART}?wait=maybe`, {});
    assert.deepEqual([strange.status, (await errorOf(strange)).code], [400, 'invalid_request']);
    const page = await served.post(RESTART, {}, { origin: 'http://elsewhere.example' });
    assert.equal(page.status, 403);
    const action = await served.post('/slots/0?action=save', { filename: 'x' });
    assert.equal(action.status, 404, 'the slots are for llamero alone');
  });

  it('does nothing to an engine of somebody else', async () => {
    await using double = await startFakeLlamaServer();
    await using provider = LlamaCppProvider.connect(double.url, { gateway: { port: 'auto' } });
    await provider.start();
    const gateway = createGateway({ provider });
    try {
      const { url } = await gateway.listen();
      const answer = await fetch(url + RESTART, { method: 'POST' });
      assert.deepEqual([answer.status, (await errorOf(answer)).code], [400, 'invalid_request']);
    } finally {
      await gateway.stop();
    }
  });
});

describe('restartEngine of the library', LINUX, () => {
  it('takes other settings, which hold from then on', async () => {
    await using served = await serve({ model: slowModel, engine: { parallel: 2 } });
    const { provider } = served;
    await provider.restartEngine({ engine: { parallel: 3 } });
    assert.deepEqual([provider.getModelInfo().slots, provider.config.engine.parallel], [3, 3]);
    await assert.rejects(provider.restartEngine({ engine: { parallel: 0 } }), { code: 'invalid_options' });
    await assert.rejects(provider.restartEngine({ model: './missing.gguf' }), { code: 'model_not_found' });
    await provider.restartEngine();
    assert.deepEqual([provider.getModelInfo().slots, provider.status().generation], [3, 3]);
    const { tokens_predicted: tokens } = (await (
      await served.post('/completion', completion('Hello', 3, false))
    ).json()) as { tokens_predicted: number };
    assert.equal(tokens, 3);
  });
});
