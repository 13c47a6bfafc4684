import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { ConfigInput } from '../../core/config.ts';
import { writeFakeLlamaServerCommand, writeTinyModel } from '../../testing/index.ts';
import { assertFailed, assertWhole, flawOf, readStream, type ReadStream, usageOf } from './continued-stream.ts';
import { dataOf, DIALECTS, nextEvent, record, serve, type Served, until } from './served-engine.ts';

const [CHAT, , COMPLETION] = DIALECTS;
const TOKENS = 40;
/** The text at which an engine is killed that has most of its answer before it. */
const EARLY = 2;
const MODES = ['fast', 'exact'] as const;
/** Some 12 ms a token on one core: slower than the gateway puts tokens of a fast stream together. */
const BALLAST_BYTES = 180_000_000;
const RESTART = { maxRestarts: 1000, window: 60_000, delay: 1, backoffMultiplier: 1, maxDelay: 1 };
const TIMEOUTS = { idle: 1500, firstToken: 20_000 };
const SETTINGS: ConfigInput = {
  engine: { restart: RESTART, args: ['--flash-attn', 'off'] },
  timeouts: TIMEOUTS,
};

/** Streams of the real llama-server whose process dies or freezes while they run, as their clients see them. */
describe(
  'a stream whose engine is lost',
  {
    timeout: 200_000,
    skip: process.platform === 'win32' && 'signals of POSIX',
  },
  () => {
    let folder = '';
    let model = '';
    let served: Served;
    /** The uninterrupted answers, by dialect. */
    const whole = new Map<string, ReadStream>();

    before(async () => {
      folder = await mkdtemp(path.join(tmpdir(), 'llamero-continuation-'));
      model = path.join(folder, 'model.gguf');
      await writeTinyModel(model, { ballastBytes: BALLAST_BYTES });
      served = await serve({ ...SETTINGS, model }, { heartbeatIntervalMs: 20 });
      for (const dialect of DIALECTS) whole.set(dialect.name, await ask(served, dialect, 'off'));
    });
    after(async () => {
      await served?.[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    });

    for (const dialect of DIALECTS) {
      const expected = () => whole.get(dialect.name) as ReadStream;
      for (const mode of MODES) {
        it(`goes on to the same greedy end: ${dialect.name}, ${mode}`, async () => {
          for (const index of mode === 'fast' ? [EARLY, TOKENS >> 1, TOKENS] : [EARLY]) {
            const stream = await ask(
              served,
              dialect,
              mode,
              {},
              at([index], () => kill(served)),
            );
            assertWhole(stream, dialect, expected().text);
            assert.deepEqual(usageOf(stream), usageOf(expected()));
            // What the reader is told late, on a busy machine, may have been the end already.
            if (index === EARLY) assert.equal(stream.continued, 1, stream.raw.slice(-2000));
            else assert.ok(stream.continued <= 1);
          }
          if (mode === 'exact') return;
          const twice = await ask(served, dialect, mode, {}, eachEngine(served, 2));
          assertWhole(twice, dialect, expected().text);
          assert.equal(twice.continued, 2);
          await isIdle(served);
        });
      }

      it(`ends with one error event where it may not go on: ${dialect.name}`, async () => {
        const stream = await ask(
          served,
          dialect,
          'off',
          {},
          at([5], () => kill(served)),
        );
        assertFailed(stream, /^stream_interrupted$/);
        assert.ok(expected().text.startsWith(stream.text));
      });
    }

    it('goes on behind an engine that froze, all that were at it', async () => {
      await using wide = await serve({ ...SETTINGS, model, engine: { ...SETTINGS.engine, parallel: 8 } });
      let ready = 0;
      const onText = (count: number): void => {
        if (count === 4 && (ready += 1) === DIALECTS.length) kill(wide, 'SIGSTOP');
      };
      const long = { max_tokens: 60, n_predict: 60, max_output_tokens: 60 };
      const streams = await Promise.all(DIALECTS.map((dialect) => ask(wide, dialect, 'fast', long, onText)));
      for (const [index, dialect] of DIALECTS.entries()) {
        const stream = streams[index] as ReadStream;
        assert.equal(flawOf(stream, dialect), null, stream.raw.slice(-2000));
        assert.ok(stream.text.startsWith((whole.get(dialect.name) as ReadStream).text), dialect.name);
        assert.equal(stream.continued, 1);
      }
      await isIdle(wide);
    });

    it('goes on once behind an engine that it may have ended itself, alone, and no third one gets it', async () => {
      const suspects = record(served, 'request-suspect');
      const prompt = { messages: [{ role: 'user', content: 'suspect' }] };
      const uninterrupted = await ask(served, CHAT, 'off', prompt);
      const once = await ask(
        served,
        CHAT,
        'fast',
        prompt,
        at([8], () => kill(served, 'SIGSEGV')),
      );
      assertWhole(once, CHAT, uninterrupted.text);
      assert.deepEqual(
        suspects.map(({ strikes, refused }) => [strikes, refused]),
        [[1, false]],
      );
      const twice = await ask(served, CHAT, 'fast', prompt, eachEngine(served, 2, 'SIGSEGV'));
      assertFailed(twice, /^stream_interrupted$/);
      assert.ok(uninterrupted.text.startsWith(twice.text));
      await isIdle(served);
    });

    for (const mode of MODES) {
      it(`goes on although the next engine dies before it has gone on: ${mode}`, async () => {
        const killing = at([6], () => {
          void nextEvent(served, 'engine-ready')
            .then(() => until(async () => (await busySlots(served)) > 0))
            .then(() => kill(served));
          kill(served);
        });
        const stream = await ask(served, CHAT, mode, {}, killing);
        assertWhole(stream, CHAT, (whole.get('chat') as ReadStream).text);
        await isIdle(served);
      });
    }

    it('goes on three times at most', async () => {
      const stream = await ask(served, COMPLETION, 'fast', { [COMPLETION.limit]: 500 }, eachEngine(served, 4));
      assertFailed(stream, /^stream_interrupted$/);
      assert.equal(stream.continued, 3);
      const { text } = whole.get('completion') as ReadStream;
      assert.ok(text.startsWith(stream.text.slice(0, text.length)));
      await isIdle(served);
    });

    it('goes on by replay where a schema, a grammar or tools shape the answer', async () => {
      const way = record(served, 'stream-continued');
      const schema = {
        type: 'object',
        properties: { a: { type: 'string', minLength: 12, maxLength: 14 } },
        required: ['a'],
      };
      const format = { response_format: { type: 'json_schema', json_schema: { name: 'a', schema } }, max_tokens: 200 };
      const expected = await ask(served, CHAT, 'off', format);
      const stream = await ask(
        served,
        CHAT,
        'fast',
        format,
        at([7], () => kill(served)),
      );
      assertWhole(stream, CHAT, expected.text);
      assert.ok((JSON.parse(stream.text) as { a: string }).a.length >= 12);

      const parameters = {
        type: 'object',
        properties: { city: { type: 'string', maxLength: 12 } },
        required: ['city'],
      };
      const tools = [
        { type: 'function', function: { name: 'weather', description: 'Tells the weather.', parameters } },
      ];
      const calling = { tools, tool_choice: 'required', parallel_tool_calls: false, max_tokens: 200 };
      const intact = await ask(served, CHAT, 'off', calling);
      let killed = false;
      const cut = await ask(served, CHAT, 'fast', calling, undefined, (raw) => {
        if (killed || argumentsOf(raw).length < 3) return;
        killed = true;
        kill(served);
      });
      assert.equal(flawOf(cut, CHAT), null, cut.raw.slice(-2000));
      assert.equal(argumentsOf(cut.raw), argumentsOf(intact.raw));
      assert.ok('city' in (JSON.parse(argumentsOf(cut.raw)) as object));
      assert.deepEqual(
        way.map((event) => event.way),
        ['replay', 'replay'],
      );
    });

    it('goes on by replay with several answers in it, whichever of them the next engine begins with', async () => {
      // The order in which two answers come depends on the slots that they get, and so on what these did before.
      for (const content of ['Hello', 'please are llamas tell me about', 'gamma delta beta']) {
        const two = { n: 2, messages: [{ role: 'user', content }] };
        const expected = choicesOf(await ask(served, CHAT, 'off', two));
        const stream = await ask(
          served,
          CHAT,
          'fast',
          two,
          at([9], () => kill(served)),
        );
        assert.deepEqual([stream.errors, stream.finishes, stream.dones], [[], 2, 1], stream.raw.slice(-2000));
        assert.deepEqual(choicesOf(stream), expected);
      }
    });

    it('shows no seed that its client has not set', async () => {
      const grammar = { grammar: 'root ::= [a-z ]+', temperature: 1 };
      for (const [seed, shown] of [
        [{}, 0xffff_ffff],
        [{ seed: 7 }, 7],
      ] as const) {
        const fields = { ...grammar, ...seed };
        const intact = await ask(served, COMPLETION, 'fast', fields);
        const killing = at([6], () => kill(served));
        const cut = await ask(served, COMPLETION, 'fast', fields, killing);
        assert.equal(cut.continued, 1);
        for (const { raw } of [intact, cut]) {
          const { seed: told } = (dataOf(raw).at(-1)?.['generation_settings'] ?? {}) as { seed?: number };
          assert.equal(told, shown);
        }
      }
    });

    for (const dialect of [CHAT, COMPLETION]) {
      it(`goes on with what it samples: ${dialect.name}`, async () => {
        let delivered = '';
        const reading = at([9], () => kill(served));
        const stream = await ask(served, dialect, 'fast', { temperature: 1 }, reading, (raw) => {
          if (!raw.includes(': continued')) delivered = raw;
        });
        assert.equal(flawOf(stream, dialect), null, stream.raw.slice(-2000));
        assert.ok(stream.raw.startsWith(delivered));
        assert.equal(stream.continued, 1);
        const usage = usageOf(stream) as Record<string, number>;
        assert.equal(usage['completion_tokens'] ?? usage['tokens_predicted'], TOKENS);
      });
    }

    it('ends at the token limit of its client, and says so', async () => {
      const limit = 60;
      const rateLimit = { pools: { user: { tokensPerMinute: limit } } };
      await using limited = await serve({ ...SETTINGS, model, rateLimit });
      const long = { max_tokens: 100, n_predict: 100 };
      for (const dialect of [CHAT, COMPLETION]) {
        const uninterrupted = await ask(limited, dialect, 'off', long, undefined, undefined, `whole ${dialect.name}`);
        const stream = await ask(
          limited,
          dialect,
          'fast',
          long,
          at([9], () => kill(limited)),
          undefined,
          dialect.name,
        );
        assertWhole(stream, dialect, uninterrupted.text);
        assert.deepEqual(usageOf(stream), usageOf(uninterrupted));
        assert.match(uninterrupted.raw, /"llamero":\{"code":"rate_limit_exceeded"/);
        assert.match(stream.raw, /"llamero":\{"code":"rate_limit_exceeded"/);
      }
    });

    it('keeps its client company while it waits, and gives everything back when that leaves', async () => {
      // Engines end themselves behind a counted token: however late the reader is, they end within the answer.
      const dying = { after: { tokens: 6, fault: 'end-process', signal: 'SIGKILL' } } as const;
      await using double = await writeFakeLlamaServerCommand({ faults: dying });
      const engine = { ...SETTINGS.engine, command: double.command };
      await using slow = await serve({ ...SETTINGS, model, engine }, { heartbeatIntervalMs: 10 });
      await double.configure({ faults: { loadMs: 400, promptsWith: 'leave', ...dying } });
      const stream = await ask(slow, CHAT, 'fast');
      assert.equal(flawOf(stream, CHAT), null, stream.raw.slice(-2000));
      assert.match(stream.raw, /: heartbeat\n\n: heartbeat\n\n[^]*: continued\n\n/);

      await double.configure({ faults: { neverReady: true } });
      const controller = new AbortController();
      const failed = nextEvent(slow, 'error');
      void nextEvent(slow, 'stream-continued').then(() => controller.abort());
      const { messages } = CHAT.body('leave');
      const asking = ask(slow, CHAT, 'fast', { messages }, undefined, undefined, 'user', controller.signal);
      await assert.rejects(asking, { name: 'AbortError' });
      assert.equal((await failed).error.code, 'cancelled');
      const { inFlight, slotsInUse, queued } = slow.provider.status();
      assert.deepEqual({ inFlight, slotsInUse, queued }, { inFlight: 0, slotsInUse: 0, queued: 0 });
    });

    it('ends with one error event when no engine comes back', async () => {
      const vanishing = path.join(folder, 'vanishing.gguf');
      await writeTinyModel(vanishing, { ballastBytes: BALLAST_BYTES });
      const restart = { ...RESTART, maxRestarts: 1 };
      await using lost = await serve({ ...SETTINGS, model: vanishing, engine: { ...SETTINGS.engine, restart } });
      await rm(vanishing);
      const streams = await Promise.all(
        [CHAT, COMPLETION].map((dialect) =>
          ask(
            lost,
            dialect,
            'fast',
            {},
            at([6], () => kill(lost)),
          ),
        ),
      );
      for (const stream of streams) assertFailed(stream, /^(stream_interrupted|engine_unavailable)$/);
      const { inFlight, slotsInUse } = lost.provider.status();
      assert.deepEqual({ inFlight, slotsInUse }, { inFlight: 0, slotsInUse: 0 });
    });

    it('is not even seen where the answer is no stream', async () => {
      for (const dialect of DIALECTS) {
        const body = { ...dialect.body('Hello'), [dialect.limit]: TOKENS, temperature: 0 };
        const expected = textIn(await (await served.post(dialect.path, body)).json());
        const answering = served.post(dialect.path, body);
        await until(async () => (await busySlots(served)) > 0);
        kill(served);
        const answer = await answering;
        assert.equal(answer.status, 200);
        assert.equal(textIn(await answer.json()), expected, dialect.name);
      }
    });
  },
);

type Asking = (count: number) => void;

/** One greedy stream, read to its end; its client is called `user`. */
async function ask(
  served: Served,
  { path: where, body, limit }: (typeof DIALECTS)[number],
  mode: string,
  fields: object = {},
  onText?: Asking,
  onRaw?: (raw: string) => void,
  user = 'user',
  signal?: AbortSignal,
): Promise<ReadStream> {
  const usage = where === CHAT.path ? { stream_options: { include_usage: true } } : {};
  const request = { ...body('Hello'), [limit]: TOKENS, temperature: 0, stream: true, ...usage, ...fields };
  const response = await served.post(where, request, { 'x-stream-continuation': mode, 'x-user-id': user }, signal);
  assert.equal(response.status, 200);
  return readStream(response, onText, onRaw);
}

/** Ends engine after engine, each at the first text that comes of it. */
function eachEngine(served: Served, times: number, signal: NodeJS.Signals = 'SIGKILL'): Asking {
  const ended = new Set<number>();
  return () => {
    const { pid } = served.provider.status();
    if (pid === null || ended.has(pid) || ended.size === times) return;
    ended.add(pid);
    kill(served, signal);
  };
}

/** Acts at pieces of text, counted from 1. */
function at(indices: readonly number[], act: () => void): Asking {
  return (count) => {
    if (indices.includes(count)) act();
  };
}

function kill({ provider }: Served, signal: NodeJS.Signals = 'SIGKILL'): void {
  const { pid } = provider.status();
  assert.ok(pid !== null, 'there is an engine');
  process.kill(pid, signal);
}

async function busySlots({ url }: Served): Promise<number> {
  const answer = await fetch(`${url}/slots`);
  if (!answer.ok) return 0;
  return ((await answer.json()) as { is_processing: boolean }[]).filter((slot) => slot.is_processing).length;
}

/** Waits until nothing is held any more. */
async function isIdle({ url, provider }: Served): Promise<void> {
  await until(async () => (await fetch(`${url}/livez`)).ok && provider.status().slotsInUse === 0);
  assert.equal(provider.status().inFlight, 0);
}

/** The arguments of the tool that is called, as far as they have come. */
function argumentsOf(raw: string): string {
  type Call = { function?: { arguments?: string } };
  const calls = dataOf(raw).flatMap((data) => {
    const [choice] = (data['choices'] ?? []) as { delta?: { tool_calls?: Call[] } }[];
    return choice?.delta?.tool_calls ?? [];
  });
  return calls.map((call) => call.function?.arguments ?? '').join('');
}

/** The text of each answer in a stream of several. */
function choicesOf({ raw }: ReadStream): string[] {
  const texts: string[] = [];
  for (const data of dataOf(raw)) {
    for (const choice of (data['choices'] ?? []) as { index: number; delta: { content?: string | null } }[]) {
      texts[choice.index] = (texts[choice.index] ?? '') + (choice.delta.content ?? '');
    }
  }
  return texts;
}

/** The text of an answer that is no stream. */
function textIn(answer: unknown): string {
  const texts = [...JSON.stringify(answer).matchAll(/"(?:content|text)":"((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text);
  return texts.join('');
}
