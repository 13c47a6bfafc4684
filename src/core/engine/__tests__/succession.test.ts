import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { writeTinyModel } from '../../../testing/index.ts';
import {
  EngineRequest,
  isAlive,
  nextEvent,
  restartOf,
  settingsOf,
  supervised,
  temporaryDirectory,
} from './engine-fixtures.ts';

const command = process.env['LLAMA_SERVER_PATH'] ?? '';
// Without this the tests would try to run the current directory.
if (command === '') throw new Error('LLAMA_SERVER_PATH is not set: run the tests through npm test.');

const LINUX = { timeout: 60_000, skip: process.platform !== 'linux' && 'processes are read in /proc' };
const STREAM = { prompt: 'Hello', n_predict: 40, ignore_eos: true, stream: true };
const ENDLESS = { ...STREAM, n_predict: 100_000 };
const NEVER = new Promise<void>(() => undefined);

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let slowModel: string;

before(async () => {
  directory = await temporaryDirectory();
  slowModel = `${directory.path}/slow.gguf`;
  await writeTinyModel(slowModel, { preset: 'slow' });
});
after(() => directory[Symbol.asyncDispose]());

const ready = (engine: ReturnType<typeof supervised>['engine']) => engine.ready(AbortSignal.timeout(20_000));

/** Asks for a few tokens; gives how many of the prompt's were found in a cache. */
async function cachedTokens(engine: Awaited<ReturnType<typeof ready>>, prompt: string): Promise<number> {
  const text = await new EngineRequest(engine, { prompt, stream: false, n_predict: 4 } as never).done;
  return (JSON.parse(text) as { timings: { cache_n: number } }).timings.cache_n;
}

describe('an engine that takes the place of another', LINUX, () => {
  it('is ready before the old one stops, which finishes its requests', async () => {
    await using fixture = supervised(command, slowModel);
    const { engine, exits } = fixture;
    const first = await ready(engine);
    const pid = engine.status().pid ?? 0;
    const request = new EngineRequest(first, STREAM);
    await request.nextLife();
    const replacement = await engine.replace(restartOf(null, request.done, { slotsInUse: () => 1 }));
    assert.deepEqual([replacement.from, replacement.to, replacement.overlap], [1, 2, true]);
    assert.equal(engine.current()?.generation, 2);
    assert.deepEqual(
      engine.status().alongside.map(({ generation, state, pid: beside }) => [generation, state, beside]),
      [[1, 'draining', pid]],
    );
    const exit = nextEvent(fixture.events, 'engine-exit');
    assert.match(await request.done, /"stop":true/);
    assert.equal(request.lifeCount, STREAM.n_predict + 1, 'no token is missing');
    const { generation, cause, expected } = await exit;
    assert.deepEqual([generation, cause, expected], [1, 'memory_limit', true]);
    assert.equal(await isAlive(pid), false);
    assert.equal(engine.status().crashes, 0);
    assert.equal(exits.length, 1);
  });

  it('has the prompt caches of idle conversations, and leaves no file of them', async () => {
    await using fixture = supervised(command, slowModel, { parallel: 2 });
    const { engine, events } = fixture;
    const prompts = ['a '.repeat(120), 'zebra '.repeat(60)];
    const first = await ready(engine);
    for (const prompt of prompts) await cachedTokens(first, prompt);
    // The second time, nothing has used the restored slots yet but these few requests.
    for (let round = 1; round <= 2; round++) {
      const replaced = nextEvent(events, 'engine-replacement');
      const started = nextEvent(events, 'engine-start');
      const { to } = await engine.replace(restartOf(null, Promise.resolve()));
      const told = await replaced;
      assert.deepEqual([told.slotsIdle, told.slotsRestored, told.slotsLeft], [2, 2, null], `round ${round}`);
      const next = await ready(engine);
      assert.equal(next.generation, to);
      // Read back, and really used.
      for (const prompt of prompts) assert.ok((await cachedTokens(next, prompt)) > 50);
      const { args: options } = await started;
      assert.deepEqual(await readdir(options[options.indexOf('--slot-save-path') + 1] ?? ''), []);
    }
  });

  it('gets them as well where the old one has to end first', async () => {
    await using fixture = supervised(command, slowModel, {}, false);
    const { engine } = fixture;
    const prompt = 'a '.repeat(120);
    await cachedTokens(await ready(engine), prompt);
    const { overlap, slotsRestored } = await engine.replace(restartOf(null, Promise.resolve()));
    assert.deepEqual([overlap, slotsRestored], [false, 1]);
    assert.ok((await cachedTokens(await ready(engine), prompt)) > 50);
  });

  it('does not get those of another model', async () => {
    const other = `${directory.path}/other.gguf`;
    await writeTinyModel(other, { seed: 5 });
    await using fixture = supervised(command, slowModel);
    const { engine } = fixture;
    await cachedTokens(await ready(engine), 'a '.repeat(120));
    const { slotsRestored } = await engine.replace(
      restartOf(null, Promise.resolve(), { settings: settingsOf(command, other) }),
    );
    assert.equal(slotsRestored, 0);
    assert.equal(await cachedTokens(await ready(engine), 'a '.repeat(120)), 0);
  });

  it('lets the old one go on when it does not start, and says why', async () => {
    await using fixture = supervised(command, slowModel);
    const { engine, events } = fixture;
    const first = await ready(engine);
    const request = new EngineRequest(first, STREAM);
    const told = nextEvent(events, 'engine-replacement');
    const settings = settingsOf(command, slowModel, { args: ['--no-such-option'] });
    const failed = engine.replace(restartOf(null, NEVER, { settings }));
    await assert.rejects(failed, ({ code, message, details }) => {
      assert.deepEqual([code, details.cause], ['engine_unavailable', 'wrong_option']);
      assert.match(message, /The old one goes on/);
      return true;
    });
    assert.equal((await told).ok, false);
    assert.equal(engine.current(), first);
    assert.match(await request.done, /"stop":true/);
    // The next one is started as the old one was.
    assert.equal((await engine.replace(restartOf(null, Promise.resolve()))).to, 3);
  });

  it('gives way to one with the old settings where the old engine had to end first', async () => {
    await using fixture = supervised(command, slowModel, {}, false);
    const { engine } = fixture;
    await ready(engine);
    const settings = settingsOf(command, slowModel, { args: ['--no-such-option'] });
    await assert.rejects(engine.replace(restartOf(null, Promise.resolve(), { settings })), {
      code: 'engine_unavailable',
    });
    assert.equal((await ready(engine)).generation, 3);
  });

  it('takes over at once when the old one dies meanwhile', async () => {
    await using fixture = supervised(command, slowModel);
    const { engine, events, exits } = fixture;
    await ready(engine);
    const pid = engine.status().pid ?? 0;
    events.once('engine-start', () => process.kill(pid, 'SIGKILL'));
    const { to } = await engine.replace(restartOf(null, NEVER));
    assert.equal(to, 2);
    assert.equal(engine.current()?.generation, 2);
    assert.deepEqual(
      exits.map(({ generation, cause, expected }) => [generation, cause, expected]),
      [[1, 'killed', false]],
    );
  });

  it('is not kept waiting for by an old one that does not come to an end', async () => {
    await using fixture = supervised(command, slowModel);
    const { engine, events } = fixture;
    const request = new EngineRequest(await ready(engine), ENDLESS);
    await request.nextLife();
    const exit = nextEvent(events, 'engine-exit');
    const broken = assert.rejects(request.done);
    await engine.replace(restartOf(null, NEVER, { drainMs: 50, slotsInUse: () => 1 }));
    await broken;
    const loss = await engine.explainLoss(1);
    assert.deepEqual(loss.details, { cause: 'memory_limit', engineEnded: true });
    assert.equal((await exit).generation, 1);
    assert.equal(engine.current()?.generation, 2);
  });

  it('may be stopped together with the old one at any time', async () => {
    await using fixture = supervised(command, slowModel);
    const { engine, events, exits } = fixture;
    await ready(engine);
    const started = nextEvent(events, 'engine-start');
    const replaced = assert.rejects(engine.replace(restartOf(null, NEVER)), { code: 'engine_unavailable' });
    await started;
    await engine.stop();
    await replaced;
    assert.equal(engine.status().state, 'stopped');
    assert.deepEqual(
      exits.map(({ generation }) => generation).toSorted((a, b) => a - b),
      [1, 2],
    );
  });

  it('comes one at a time', async () => {
    await using fixture = supervised(command, slowModel);
    const { engine } = fixture;
    await ready(engine);
    const [one, two] = await Promise.allSettled([
      engine.replace(restartOf(null, Promise.resolve())),
      engine.replace(restartOf(null, Promise.resolve())),
    ]);
    assert.deepEqual([one.status, two.status], ['fulfilled', 'rejected']);
  });

  it('is started where there is none', async () => {
    await using fixture = supervised(command, slowModel);
    const { engine } = fixture;
    const { to, overlap } = await engine.replace(restartOf(null, Promise.resolve()));
    assert.deepEqual([to, overlap], [1, false]);
  });
});
