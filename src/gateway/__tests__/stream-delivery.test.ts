import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import {
  type FakeLlamaServerBehaviour,
  type FakeLlamaServerCommand,
  writeFakeLlamaServerCommand,
  writeTinyModel,
} from '../../testing/index.ts';
import { assertFailed, assertWhole, readStream, type TestDialect } from './continued-stream.ts';
import { dataOf, DIALECTS, errorOf, record, serve, type Served, until } from './served-engine.ts';

const [CHAT, COMPLETIONS, COMPLETION, RESPONSES] = DIALECTS;
const TOKENS = 30;
const COMMIT = { 'x-stream-commit': 'complete' };
const TRACE = { 'x-llamero-trace': '1' };
const RESTART = { maxRestarts: 1000, window: 60_000, delay: 1, backoffMultiplier: 1, maxDelay: 1 };

/** Streams that come when they are complete, and streams that tell how often they went on. */
describe('the delivery of a stream', { timeout: 120_000 }, () => {
  let folder = '';
  let model = '';
  let double: FakeLlamaServerCommand;
  let served: Served;
  let deaths = 0;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'llamero-delivery-'));
    model = path.join(folder, 'model.gguf');
    await writeTinyModel(model);
    double = await writeFakeLlamaServerCommand(dyingOf(1));
    served = await serve(
      { model, engine: { command: double.command, parallel: 4, restart: RESTART } },
      { heartbeatIntervalMs: 10 },
    );
  });
  after(async () => {
    await served?.[Symbol.asyncDispose]();
    await double?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  /** A prompt of which the present engine dies behind the sixth token of its answer; the next engine lives. */
  async function deadlyPrompt(): Promise<string> {
    deaths += 1;
    await double.configure(dyingOf(deaths + 1));
    return `death <${deaths}>`;
  }

  for (const dialect of DIALECTS) {
    it(`is all at once, and a crash before is not seen: ${dialect.name}`, async () => {
      const retries = record(served, 'retry');
      const prompt = await deadlyPrompt();
      const pieces: string[] = [];
      const answer = await ask(served, dialect, COMMIT, {}, prompt);
      const stream = await readStream(answer, undefined, (raw) => pieces.push(raw));
      const whole = await readStream(await ask(served, dialect, {}, {}, prompt));
      assertWhole(stream, dialect, whole.text);
      assert.equal(stream.continued, 0);
      assert.deepEqual(
        retries.map(({ reason }) => reason),
        ['engine_lost'],
      );
      const early = pieces.filter((raw) => !raw.includes('data:'));
      assert.ok(
        early.some((raw) => raw.startsWith(':')),
        'heartbeats come meanwhile',
      );
      const { inFlight, slotsInUse } = served.provider.status();
      assert.deepEqual({ inFlight, slotsInUse }, { inFlight: 0, slotsInUse: 0 });
    });

    it(`tells how often it went on, if asked: ${dialect.name}`, async () => {
      const prompt = await deadlyPrompt();
      const cut = await readStream(await ask(served, dialect, TRACE, {}, prompt));
      const off = { ...TRACE, 'x-stream-continuation': 'off' };
      const intact = await readStream(await ask(served, dialect, off, {}, prompt));
      for (const [stream, continued] of [
        [cut, 1],
        [intact, 0],
      ] as const) {
        assertWhole(stream, dialect, intact.text);
        assert.deepEqual(dataOf(stream.raw).at(-1)?.['llamero'], { continued });
        assert.equal(stream.raw.split('"llamero"').length, 2);
      }
      const unasked = await readStream(await ask(served, dialect, { 'x-llamero-trace': '0' }));
      assert.doesNotMatch(unasked.raw, /llamero/);
    });
  }

  it('is refused where it should be JSON and is not', async () => {
    const [short, format] = [{ max_output_tokens: 200 }, { text: { format: { type: 'json_schema' } } }];
    const refused = await ask(served, RESPONSES, COMMIT, { max_output_tokens: undefined, ...format });
    // Its head may be out, for the sake of the heartbeats.
    if (refused.status === 200) assertFailed(await readStream(refused), /^engine_bad_response$/);
    else assert.equal((await errorOf(refused)).code, 'engine_bad_response');
    const limited = await readStream(
      await ask(served, RESPONSES, COMMIT, { ...short, ...format, max_output_tokens: 4 }),
    );
    assert.equal(limited.text.trim().split(' ').length, 4);
    assert.equal(limited.errors.length, 0);
  });

  it('takes only what it knows', async () => {
    const refused = await ask(served, CHAT, { 'x-stream-commit': 'soon' });
    assert.equal(refused.status, 400);
    assert.equal((await errorOf(refused)).code, 'invalid_request');
  });

  it('is given back when its client leaves before it is complete', async () => {
    const controller = new AbortController();
    const body = { ...CHAT.body('Hello'), max_tokens: 2000, stream: true };
    const asking = served.post(CHAT.path, body, COMMIT, controller.signal);
    const reading = assert.rejects(
      asking.then((response) => response.text()),
      { name: 'AbortError' },
    );
    await until(async () => (await generated(served)) > 5);
    controller.abort();
    await reading;
    await until(async () => (await generated(served)) === 0 && served.provider.status().slotsInUse === 0);
    assert.equal(served.provider.status().inFlight, 0);
  });

  it('is read by the clients that are in use', async () => {
    const openai = new OpenAI({ baseURL: `${served.url}/v1`, apiKey: 'none', maxRetries: 0 });
    const anthropic = new Anthropic({ baseURL: served.url, apiKey: 'none', maxRetries: 0 });
    for (const headers of [COMMIT, { ...COMMIT, ...TRACE }, TRACE]) {
      const options = { headers };
      const messages = [{ role: 'user' as const, content: 'Hello' }];
      const usage = { stream_options: { include_usage: true } };
      const chat = openai.chat.completions.stream({ model: 'x', messages, max_tokens: 8, ...usage }, options);
      const { choices, usage: used } = await chat.finalChatCompletion();
      assert.equal(choices[0]?.finish_reason, 'length');
      assert.equal(used?.completion_tokens, 8);
      const response = { model: 'x', input: 'Hello', max_output_tokens: 8, stream: true } as const;
      let last: OpenAI.Responses.ResponseStreamEvent | null = null;
      for await (const event of await openai.responses.create(response, options)) last = event;
      assert.equal(last?.type === 'response.completed' && last.response.usage?.output_tokens, 8);
      const message = anthropic.messages.stream({ model: 'x', messages, max_tokens: 8 }, options);
      assert.equal((await message.finalMessage()).stop_reason, 'max_tokens');
    }
  });

  it('is valid JSON of the real llama-server, whatever happens before', async () => {
    const slow = path.join(folder, 'slow.gguf');
    await writeTinyModel(slow, { ballastBytes: 180_000_000 });
    await using real = await serve({ model: slow, engine: { restart: RESTART } });
    const schema = {
      type: 'object',
      properties: { a: { type: 'string', minLength: 60, maxLength: 62 } },
      required: ['a'],
    };
    const wishes: readonly [TestDialect, object][] = [
      [CHAT, { response_format: { type: 'json_schema', json_schema: { name: 'a', schema } } }],
      [COMPLETION, { json_schema: schema }],
      [COMPLETIONS, { json_schema: schema }],
    ];
    for (const [dialect, wish] of wishes) {
      const fields = { ...wish, [dialect.limit]: 200, temperature: 0 };
      const whole = await readStream(await ask(real, dialect, COMMIT, fields));
      const asking = ask(real, dialect, COMMIT, fields);
      await until(async () => (await generated(real)) > 3);
      kill(real);
      const stream = await readStream(await asking);
      assertWhole(stream, dialect, whole.text);
      assert.ok((JSON.parse(stream.text) as { a: string }).a.length >= 60);
    }
  });

  it('comes at once to a program as well', async () => {
    const retries = record(served, 'retry');
    const parts = served.provider.stream(await deadlyPrompt(), { commit: 'complete', maxTokens: TOKENS });
    let pieces = 0;
    for await (const { text } of parts) pieces += text === '' ? 0 : 1;
    assert.deepEqual([pieces, retries.length], [TOKENS, 1]);
    assert.throws(() => served.provider.stream('Hello', { commit: 'soon' as 'complete' }), { code: 'invalid_options' });
  });
});

/** An engine that ends itself within the answer to the n-th deadly prompt, however late anybody looks. */
function dyingOf(death: number): FakeLlamaServerBehaviour {
  const fault = { tokens: 6, fault: 'end-process', signal: 'SIGKILL' } as const;
  return { tokensPerSecond: 100, faults: { promptsWith: `death <${death}>`, after: fault } };
}

function ask(
  served: Served,
  dialect: TestDialect,
  headers: Record<string, string> = {},
  fields: object = {},
  prompt = 'Hello',
) {
  const body = { ...dialect.body(prompt), [dialect.limit]: TOKENS, temperature: 0, stream: true, ...fields };
  return served.post(dialect.path, body, headers);
}

function kill({ provider }: Served): void {
  const { pid } = provider.status();
  assert.ok(pid !== null, 'there is an engine');
  process.kill(pid, 'SIGKILL');
}

/** Tokens that the slots of the engine have generated for what they work on now. */
async function generated({ url }: Served): Promise<number> {
  const answer = await fetch(`${url}/slots`);
  if (!answer.ok) return 0;
  const slots = (await answer.json()) as { is_processing: boolean; next_token?: { n_decoded: number }[] }[];
  const counts = slots.map((slot) => (slot.is_processing ? (slot.next_token?.[0]?.n_decoded ?? 0) : 0));
  return counts.reduce((sum, count) => sum + count, 0);
}
