import type { ConfigInput } from '../../src/core/config.ts';
import { nextEvent, type Served, until } from '../../src/gateway/__tests__/served-engine.ts';

/** What is done to the engines of one stream while it runs. */
export interface Strike {
  /** Called when the request is sent. */
  readonly onSent?: () => void;
  /** Called when the client has so many pieces of text. */
  readonly onText?: (count: number) => void;
  /** Called when the stream has ended: what has not been done is not done any more. */
  readonly onEnd?: () => void;
}

/** A way to lose an engine. */
export interface Fault {
  readonly name: string;
  readonly meaning: string;
  /** Of the indices of the tokens, every so many is tried, unless told otherwise. */
  readonly step: number;
  readonly settings?: ConfigInput;
  /** The prompt is long, and none of it is cached. */
  readonly readsLong?: true;
  /** @param firstTextMs how long the uninterrupted stream took to its first text. */
  readonly strike: (served: Served, index: number, firstTextMs: number) => Strike;
}

/** No engine comes back for so long after a death, in ms. */
const AWAY_MS = 5000;
/** Of a delay up to a half is left out by chance, so that engines do not start in step. */
const AWAY = { delay: 2 * AWAY_MS, backoffMultiplier: 1, maxDelay: 2 * AWAY_MS };

/** Every fault, in the order in which they are tried. */
export const FAULTS: readonly Fault[] = [
  { name: 'kill', meaning: 'SIGKILL behind the token', step: 1, strike: signalAt('SIGKILL') },
  { name: 'segv', meaning: 'SIGSEGV behind the token', step: 6, strike: signalAt('SIGSEGV') },
  {
    name: 'stop',
    meaning: 'SIGSTOP behind the token',
    step: 6,
    // Longer than a busy machine keeps an engine from its work: who is taken for hung twice is refused for a while.
    settings: { timeouts: { idle: 2000 } },
    strike: signalAt('SIGSTOP'),
  },
  {
    name: 'prefill',
    meaning: 'SIGKILL while the prompt is read',
    step: 6,
    // Here every request is sent twice, for which the retry budget of a usual configuration has no room.
    settings: { maxConcurrentRequests: 1000 },
    readsLong: true,
    strike: inPrefill,
  },
  { name: 'again', meaning: 'SIGKILL, and of the next engine before its first token', step: 6, strike: again },
  { name: 'twice', meaning: 'SIGKILL, and of the next engine behind its first token', step: 6, strike: twice },
  {
    name: 'away',
    meaning: `SIGKILL, and no engine for ${AWAY_MS / 1000} s`,
    step: 20,
    settings: { engine: { restart: AWAY } },
    strike: signalAt('SIGKILL'),
  },
];

/** Sends a signal to the engine, if there is one. */
export function signalEngine({ provider }: Served, signal: NodeJS.Signals): void {
  const { pid } = provider.status();
  if (pid !== null) process.kill(pid, signal);
}

function signalAt(signal: NodeJS.Signals): Fault['strike'] {
  return (served, index) => ({
    onText: (count) => {
      if (count === index) signalEngine(served, signal);
    },
  });
}

/** Spread over the time that the prompt takes. */
function inPrefill(served: Served, index: number, firstTextMs: number): Strike {
  let timer: NodeJS.Timeout | undefined;
  return {
    onSent: () => {
      timer = setTimeout(() => signalEngine(served, 'SIGKILL'), (index / 60) * 0.9 * firstTextMs);
    },
    onEnd: () => clearTimeout(timer),
  };
}

function again(served: Served, index: number): Strike {
  let hasEnded = false;
  const killNext = async (): Promise<void> => {
    await nextEvent(served, 'engine-ready');
    // Where nothing is left to go on with, no engine becomes busy.
    await until(async () => hasEnded || (await isBusy(served)));
    if (!hasEnded) signalEngine(served, 'SIGKILL');
  };
  return {
    onText: (count) => {
      if (count !== index) return;
      signalEngine(served, 'SIGKILL');
      void killNext();
    },
    onEnd: () => {
      hasEnded = true;
    },
  };
}

function twice(served: Served, index: number): Strike {
  const killed = new Set<number>();
  return {
    onText: (count) => {
      const { pid } = served.provider.status();
      if (count < index || pid === null || killed.has(pid) || killed.size === 2) return;
      killed.add(pid);
      signalEngine(served, 'SIGKILL');
    },
  };
}

async function isBusy({ url }: Served): Promise<boolean> {
  const answer = await fetch(`${url}/slots`);
  return answer.ok && ((await answer.json()) as { is_processing: boolean }[]).some((slot) => slot.is_processing);
}
