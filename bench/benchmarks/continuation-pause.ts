import { once } from 'node:events';
import { LlamaCppProvider } from '../../src/core/llm/llama-cpp-provider.ts';
import type { Benchmark } from '../bench-context.ts';
import { findEngine, temporaryModel } from '../real-engine.ts';
import type { Figure } from '../report.ts';
import { shuffled } from '../statistics.ts';
import { coldStartToToken } from './recovery.ts';

const TOKENS = 60;
/** The engine is killed here. */
const KILLED_AT = 30;
/** Some 12 ms a token on one core: a decoding that can be seen. */
const BALLAST_BYTES = 180_000_000;
const PROMPT = 'Once upon a time';
/** The prompt, and any tokens in the place of those that a stream has when its engine is killed. */
const AS_MUCH = [PROMPT, ...Array.from({ length: KILLED_AT }, (_, index) => 300 + index)];
const SHAPE = ['--threads', '1', '--flash-attn', 'off'];
const RESTART = { maxRestarts: 1000, window: 60_000, delay: 1, backoffMultiplier: 1, maxDelay: 1 };

type Piece = AsyncIterable<{ readonly text: string }>;
type Way = (provider: LlamaCppProvider) => Piece;
const GREEDY = { maxTokens: TOKENS, temperature: 0 };
const WAYS: readonly { name: string; stream: Way }[] = [
  { name: 'token ids', stream: (provider) => provider.stream(PROMPT, GREEDY) },
  { name: 'text', stream: (provider) => provider.chatStream([{ role: 'user', content: PROMPT }], GREEDY) },
  {
    name: 'replay',
    stream: (provider) =>
      provider.chatStream([{ role: 'user', content: PROMPT }], { ...GREEDY, continuation: 'exact' }),
  },
];

/** How long a stream pauses whose engine is killed. */
export const continuationPause: Benchmark = {
  name: 'continuation-pause',
  summary: `SIGKILL of the engine at token ${KILLED_AT} of ${TOKENS} until the next token of the stream, beside a cold start by hand`,
  async run({ rounds, random, progress }) {
    const command = await findEngine();
    await using stack = new AsyncDisposableStack();
    const model = await temporaryModel(stack, { ballastBytes: BALLAST_BYTES });
    const engine = { command, parallel: 1, ctxSize: 1024, args: SHAPE, restart: RESTART };
    const provider = stack.use(new LlamaCppProvider({ model, engine }));
    await provider.start();
    const cold: number[] = [];
    const pauses = new Map(WAYS.map(({ name }) => [name, [] as number[]]));
    for (let round = 0; round <= rounds; round += 1) {
      progress(round === 0 ? 'warming up' : `round ${round} of ${rounds}`);
      const measures = [
        async () => cold.push(await coldStartToToken(command, model, SHAPE, AS_MUCH)),
        ...WAYS.map(
          ({ name, stream }) =>
            async () =>
              pauses.get(name)?.push(await pauseOf(provider, stream)),
        ),
      ];
      for (const measure of shuffled(measures, random)) await measure();
      // The first start reads the files from the disk.
      if (round === 0) for (const values of [cold, ...pauses.values()]) values.length = 0;
    }
    return [
      ...WAYS.flatMap(({ name }): Figure[] => {
        const values = pauses.get(name) ?? [];
        return [
          {
            name: `engine killed → next token, by ${name}, beyond its cold start`,
            unit: 'ms',
            values: values.map((ms, round) => ms - (cold[round] ?? Number.NaN)),
            // A replay decodes again what was there.
            ...(name === 'replay' ? {} : { reach: { atMost: 100 } }),
          },
          { name: '– killed → next token', unit: 'ms', values },
        ];
      }),
      { name: 'cold start → first token behind as many tokens, by hand', unit: 'ms', values: cold },
    ];
  },
};

/** From the kill to the end of the longest wait for a piece of text behind it: what was on its way at the kill still comes. */
async function pauseOf(provider: LlamaCppProvider, stream: Way): Promise<number> {
  let pieces = 0;
  let killedAt = 0;
  let lastAt = 0;
  let longestMs = 0;
  let pauseMs = 0;
  for await (const { text } of stream(provider)) {
    if (text === '') continue;
    pieces += 1;
    const now = performance.now();
    if (killedAt > 0 && now - lastAt > longestMs) {
      longestMs = now - lastAt;
      pauseMs = now - killedAt;
    }
    lastAt = now;
    const { pid } = provider.status();
    if (pieces !== KILLED_AT || pid === null) continue;
    process.kill(pid, 'SIGKILL');
    killedAt = performance.now();
  }
  return pauseMs;
}

/** Several times as many tokens as are decoded while the next engine starts. */
const LONG = { ...GREEDY, maxTokens: 400, extra: { ignore_eos: true } };
/** Nothing of the prompt is there already, although an engine leaves its caches to the next one. */
const UNCACHED = { cache_prompt: false };
const USER = { role: 'user', content: PROMPT };

/** What a stream had when its engine was killed. */
interface Sent {
  readonly text: string;
  readonly tokens: number;
}

/** How a long answer is asked for, and by hand what the way asks for behind a part of it. */
interface ReadyWay {
  readonly name: string;
  readonly stream: Way;
  readonly byHand: (provider: LlamaCppProvider, sent: Sent) => Piece;
  /** Pieces of the answer by hand up to the one that the stream waits for. */
  readonly awaited: (sent: Sent) => number;
}

const READY_WAYS: readonly ReadyWay[] = [
  {
    name: 'token ids',
    stream: (provider) => provider.stream(PROMPT, LONG),
    byHand: (provider, { tokens }) => {
      const prompt = [PROMPT, ...Array.from({ length: tokens }, (_, index) => 300 + index)];
      return provider.stream(PROMPT, { ...GREEDY, extra: { ...LONG.extra, ...UNCACHED, prompt } });
    },
    awaited: () => 1,
  },
  {
    name: 'text',
    stream: (provider) => provider.chatStream([USER], LONG),
    byHand: (provider, { text }) => {
      const goesOn = { continue_final_message: true, add_generation_prompt: false };
      const extra = { ...LONG.extra, ...UNCACHED, ...goesOn };
      return provider.chatStream([USER, { role: 'assistant', content: text }], { ...GREEDY, extra });
    },
    awaited: () => 1,
  },
  {
    name: 'replay',
    stream: (provider) => provider.chatStream([USER], { ...LONG, continuation: 'exact' }),
    byHand: (provider) => provider.chatStream([USER], { ...LONG, extra: { ...LONG.extra, ...UNCACHED } }),
    awaited: ({ tokens }) => tokens + 1,
  },
];

/** How long a stream pauses whose engine is killed while it is being replaced, and the next one takes requests already. */
export const continuationPauseReady: Benchmark = {
  name: 'continuation-pause-ready',
  summary:
    'SIGKILL of the old engine of a planned restart, the next one being ready, until the next token of its stream',
  async run({ rounds, random, progress }) {
    const command = await findEngine();
    await using stack = new AsyncDisposableStack();
    const model = await temporaryModel(stack, { ballastBytes: BALLAST_BYTES });
    const engine = { command, parallel: 1, ctxSize: 1024, args: SHAPE, restart: RESTART };
    const provider = stack.use(new LlamaCppProvider({ model, engine }));
    await provider.start();
    const measured = new Map(READY_WAYS.map(({ name }) => [name, [] as (Pause & { byHandMs: number })[]]));
    for (let round = 0; round <= rounds; round += 1) {
      progress(round === 0 ? 'warming up' : `round ${round} of ${rounds}`);
      for (const way of shuffled(READY_WAYS, random)) {
        const pause = await pauseWithReady(provider, way.stream);
        // The same on an engine that is as fresh as the ready one was, and alone.
        const gone = once(provider.events, 'engine-exit');
        await provider.restartEngine();
        await gone;
        const byHandMs = await timeToPiece(way.byHand(provider, pause.sent), way.awaited(pause.sent));
        if (round > 0) measured.get(way.name)?.push({ ...pause, byHandMs });
      }
    }
    const all = [...measured.values()].flat();
    return [
      ...READY_WAYS.flatMap(({ name }): Figure[] => {
        const pauses = measured.get(name) ?? [];
        const work = name === 'replay' ? 'decoding' : 'prefill';
        return [
          {
            name: `old engine killed, another ready → next token, by ${name}, beyond the ${work} of what was there`,
            unit: 'ms',
            values: pauses.map(({ pauseMs, byHandMs }) => pauseMs - byHandMs),
            ...(name === 'replay' ? {} : { reach: { atMost: 50 } }),
          },
          {
            name: '– of that, since the system has ended the process',
            unit: 'ms',
            values: pauses.map(({ pauseMs, byHandMs, goneMs }) => pauseMs - byHandMs - goneMs),
          },
          { name: '– killed → next token', unit: 'ms', values: pauses.map(({ pauseMs }) => pauseMs) },
          { name: `– the ${work} alone`, unit: 'ms', values: pauses.map(({ byHandMs }) => byHandMs) },
        ];
      }),
      { name: 'killed → the system has ended the process', unit: 'ms', values: all.map(({ goneMs }) => goneMs) },
      {
        name: '→ llamero goes on with the stream',
        unit: 'ms',
        values: all.map(({ goneMs, continuedMs }) => continuedMs - goneMs),
      },
    ];
  },
};

/** Times from the kill, in ms. */
interface Pause {
  readonly sent: Sent;
  readonly goneMs: number;
  readonly continuedMs: number;
  readonly pauseMs: number;
}

async function pauseWithReady(provider: LlamaCppProvider, stream: Way): Promise<Pause> {
  const { pid } = provider.status();
  if (pid === null) throw new Error('the engine has no process');
  const { events } = provider;
  let killedAt = 0;
  let continuedMs = 0;
  const gone = once(events, 'engine-exit').then(() => performance.now());
  events.once('engine-ready', () => {
    killedAt = performance.now();
    process.kill(pid, 'SIGKILL');
  });
  events.once('stream-continued', () => (continuedMs = performance.now() - killedAt));
  let restarting: Promise<unknown> | null = null;
  let pauseMs = 0;
  let tokens = 0;
  let text = '';
  for await (const piece of stream(provider)) {
    if (piece.text === '') continue;
    restarting ??= provider.restartEngine();
    pauseMs = performance.now() - killedAt;
    if (continuedMs > 0) break;
    tokens += 1;
    text += piece.text;
  }
  await restarting;
  if (continuedMs === 0) throw new Error('the stream ended before the next engine was ready');
  return { sent: { text, tokens }, goneMs: (await gone) - killedAt, continuedMs, pauseMs };
}

/** From asking to the n-th piece of text. */
async function timeToPiece(pieces: Piece, count: number): Promise<number> {
  const startedAt = performance.now();
  let seen = 0;
  for await (const { text } of pieces) {
    if (text !== '') seen += 1;
    if (seen === count) break;
  }
  return performance.now() - startedAt;
}
