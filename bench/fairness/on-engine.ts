import { setTimeout as sleep } from 'node:timers/promises';
import { LlamaCppProvider } from '../../src/core/llm/llama-cpp-provider.ts';
import { findEngine, temporaryModel } from '../real-engine.ts';
import type { Figure } from '../report.ts';
import { percentile } from '../statistics.ts';

const SLOTS = 4;
/** Requests that the flooding client keeps waiting or running. */
const FLOOD = 24;
const FLOOD_TOKENS = 64;
const LIGHT_TOKENS = 8;
/** The light client asks, waits for the answer, and thinks. */
const LIGHT_REQUESTS = { alone: 40, fair: 60, inOrder: 12 };
const THINK_MS = 50;
const WARM_UP_MS = 3000;
const FLOOD_ALONE_MS = 6000;

/** Time to first token and whole time of requests, in ms. */
interface Times {
  readonly firstToken: number[];
  readonly whole: number[];
}

interface Beside {
  readonly light: Times;
  readonly heavy: Times;
  readonly tokensPerSecond: number;
}

/**
 * A client that asks a short question now and then, beside one that floods, on a real llama-server with everything of
 * llamero in between; then the same with both as one client, which leaves the order of arrival.
 * @throws Skipped when there is no llama-server.
 */
export async function measureOnEngine(progress: (text: string) => void): Promise<Figure[]> {
  const command = await findEngine();
  await using stack = new AsyncDisposableStack();
  // About 500 tokens per second in all on one core.
  const model = await temporaryModel(stack, { ballastBytes: 30_000_000 });
  const provider = stack.use(
    new LlamaCppProvider({
      model,
      profile: 'local',
      engine: { command, parallel: SLOTS, ctxSize: 512, args: ['--threads', '1'] },
      timeouts: { queue: 120_000 },
    }),
  );
  await provider.start();
  await ask(provider, 'warm', FLOOD_TOKENS);

  progress('The light client alone …');
  const alone = await askOften(provider, 'light', LIGHT_REQUESTS.alone);
  progress('The flood alone …');
  const flood = await besideFlood(provider, 'heavy', () => sleep(FLOOD_ALONE_MS).then(noTimes));
  progress('Light beside the flood, as two clients …');
  const fair = await besideFlood(provider, 'heavy', () => askOften(provider, 'light', LIGHT_REQUESTS.fair));
  progress('Light beside the flood, in order of arrival …');
  const inOrder = await besideFlood(provider, 'all', () => askOften(provider, 'all', LIGHT_REQUESTS.inOrder));
  return figuresOf(alone, flood, fair, inOrder);
}

function figuresOf(alone: Times, flood: Beside, fair: Beside, inOrder: Beside): Figure[] {
  const service = quantile(fair.heavy.whole, 0.5) - quantile(fair.heavy.firstToken, 0.5);
  const limitMs = 1.5 * quantile(alone.firstToken, 0.99) + service;
  const firstToken = (name: string, { firstToken: times }: Times, fraction: number): Figure => ({
    name: `time to first token, ${name}, p${fraction * 100}`,
    unit: 'ms',
    values: [quantile(times, fraction)],
  });
  return [
    firstToken('light alone', alone, 0.5),
    firstToken('light alone', alone, 0.99),
    { name: 'service of one request of the flood', unit: 'ms', values: [service] },
    firstToken('light beside the flood', fair.light, 0.5),
    {
      ...firstToken('light beside the flood', fair.light, 0.99),
      reach: { atMost: limitMs },
      note: '1.5 × alone + one request',
    },
    firstToken('the flood itself', fair.heavy, 0.5),
    firstToken('light, in order of arrival', inOrder.light, 0.5),
    firstToken('light, in order of arrival', inOrder.light, 0.99),
    { name: 'tokens of the engine, flood alone', unit: 'tokens/s', values: [flood.tokensPerSecond] },
    {
      name: 'tokens of the engine, with light ÷ flood alone',
      unit: '',
      values: [fair.tokensPerSecond / flood.tokensPerSecond],
      reach: { atLeast: 0.9 },
    },
  ];
}

/** Floods as `floodUser` while `action` runs. */
async function besideFlood(
  provider: LlamaCppProvider,
  floodUser: string,
  action: () => Promise<Times>,
): Promise<Beside> {
  const heavy: Times = noTimes();
  const end = new AbortController();
  let measuring = false;
  let tokens = 0;
  const flooder = async (): Promise<void> => {
    while (!end.signal.aborted) {
      const asked = await ask(provider, floodUser, FLOOD_TOKENS, end.signal, () => {
        if (measuring) tokens += 1;
      });
      if (measuring && asked !== null) remember(heavy, asked);
    }
  };
  const flood = Promise.all(Array.from({ length: FLOOD }, flooder));
  await sleep(WARM_UP_MS);
  measuring = true;
  const startedAt = performance.now();
  const light = await action();
  measuring = false;
  const seconds = (performance.now() - startedAt) / 1000;
  end.abort();
  await flood;
  return { light, heavy, tokensPerSecond: (tokens + light.whole.length * LIGHT_TOKENS) / seconds };
}

async function askOften(provider: LlamaCppProvider, user: string, requests: number): Promise<Times> {
  const times = noTimes();
  for (let count = 0; count < requests; count++) {
    const asked = await ask(provider, user, LIGHT_TOKENS);
    if (asked !== null) remember(times, asked);
    await sleep(THINK_MS);
  }
  return times;
}

interface Asked {
  firstTokenMs: number;
  wholeMs: number;
}

/** One streamed request; null when it was cancelled. */
async function ask(
  provider: LlamaCppProvider,
  userId: string,
  maxTokens: number,
  signal?: AbortSignal,
  onToken: () => void = () => undefined,
): Promise<Asked | null> {
  const startedAt = performance.now();
  let firstTokenMs: number | null = null;
  try {
    const extra = { ignore_eos: true, cache_prompt: false };
    for await (const part of provider.stream('Tell me a story.', { maxTokens, signal, client: { userId }, extra })) {
      if (part.finishReason === null) onToken();
      firstTokenMs ??= performance.now() - startedAt;
    }
  } catch (error) {
    if (signal?.aborted === true) return null;
    throw error;
  }
  return { firstTokenMs: firstTokenMs ?? Number.NaN, wholeMs: performance.now() - startedAt };
}

function remember(times: Times, { firstTokenMs, wholeMs }: Asked): void {
  times.firstToken.push(firstTokenMs);
  times.whole.push(wholeMs);
}

function noTimes(): Times {
  return { firstToken: [], whole: [] };
}

function quantile(values: readonly number[], fraction: number): number {
  return percentile(
    values.toSorted((one, other) => one - other),
    fraction,
  );
}
