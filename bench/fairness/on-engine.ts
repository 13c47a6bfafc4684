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
/** The light client asks, waits for the answer, and thinks: so many times in each round. */
const LIGHT_REQUESTS = { alone: 30, fair: 30, inOrder: 5 };
const THINK_MS = 50;
/** Rounds, because a machine is not equally fast all the time. */
const ROUNDS = 4;
const WARM_UP_MS = 1500;
const BUSY_MS = 4000;

/** Time to first token and whole time of requests, in ms. */
interface Times {
  readonly firstToken: number[];
  readonly whole: number[];
}

/** What was seen of both clients; whose request is not asked for has none. */
interface Round {
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
  const rounds: { alone: Times; busy: Round; fair: Round; inOrder: Round }[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    progress(`Round ${round} of ${ROUNDS}: light alone, heavy without waiting, both as two clients, both as one`);
    rounds.push({
      alone: await askOften(provider, 'light', LIGHT_REQUESTS.alone),
      busy: await besideFlood(provider, 'heavy', SLOTS, () => sleep(BUSY_MS).then(noTimes)),
      fair: await besideFlood(provider, 'heavy', FLOOD, () => askOften(provider, 'light', LIGHT_REQUESTS.fair)),
      inOrder: await besideFlood(provider, 'all', FLOOD, () => askOften(provider, 'all', LIGHT_REQUESTS.inOrder)),
    });
  }
  const all = (select: (round: (typeof rounds)[number]) => number[]): number[] => rounds.flatMap(select);
  return [
    ...figuresOf({
      alone: all(({ alone }) => alone.firstToken),
      service: all(({ busy }) => busy.heavy.whole),
      fair: all(({ fair }) => fair.light.firstToken),
      flood: all(({ fair }) => fair.heavy.firstToken),
      inOrder: all(({ inOrder }) => inOrder.light.firstToken),
    }),
    {
      name: 'tokens of the engine, both as two clients ÷ heavy alone',
      unit: '',
      values: rounds.map(({ fair, busy }) => fair.tokensPerSecond / busy.tokensPerSecond),
      reach: { atLeast: 0.9 },
    },
    { name: '– heavy alone', unit: 'tokens/s', values: rounds.map(({ busy }) => busy.tokensPerSecond) },
  ];
}

/** From the times of all rounds, in ms. */
function figuresOf(times: Record<'alone' | 'service' | 'fair' | 'flood' | 'inOrder', number[]>): Figure[] {
  const figure = (name: string, values: readonly number[], fraction: number): Figure => ({
    name: `${name}, p${fraction * 100}`,
    unit: 'ms',
    values: [quantile(values, fraction)],
  });
  const limitMs = 1.5 * quantile(times.alone, 0.99) + quantile(times.service, 0.99);
  return [
    figure('first token of light alone', times.alone, 0.5),
    figure('first token of light alone', times.alone, 0.99),
    figure('one request of heavy, without waiting', times.service, 0.5),
    figure('one request of heavy, without waiting', times.service, 0.99),
    figure('first token of light beside heavy', times.fair, 0.5),
    {
      ...figure('first token of light beside heavy', times.fair, 0.99),
      reach: { atMost: limitMs },
      note: '1.5 × alone + one request',
    },
    figure('first token of heavy', times.flood, 0.5),
    figure('first token of light in order of arrival', times.inOrder, 0.5),
    figure('first token of light in order of arrival', times.inOrder, 0.99),
  ];
}

/** Keeps as many requests of `floodUser` going as there are `callers`, while `action` runs. */
async function besideFlood(
  provider: LlamaCppProvider,
  floodUser: string,
  callers: number,
  action: () => Promise<Times>,
): Promise<Round> {
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
  const flood = Promise.all(Array.from({ length: callers }, flooder));
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
