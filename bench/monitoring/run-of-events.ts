import { setTimeout as sleep } from 'node:timers/promises';
import { Ledger } from './ledger.ts';
import { Traffic } from './traffic.ts';
import { LIMITED_REQUESTS, QUEUE_PLACES, SLOTS, type WatchedServe } from './watched-serve.ts';

/** Requests beyond the limit of their client, and beyond the places of the queue. */
const BEYOND = 2;
const CALM_WAVES = 6;
const PAUSE_MS = 2000;

/** What was done, beside what the callers saw. */
export interface Done {
  readonly ledger: Ledger;
  /** Engines that were killed, by signal. */
  readonly kills: { readonly SIGKILL: number; readonly SIGSEGV: number };
  readonly plannedRestarts: number;
}

/**
 * Everything that the dashboard is to show: traffic, a full queue, a client at its limit, one that leaves, and engines that die.
 * @param isEngineKnown whether the first engine has been there for long enough to know how its memory grows.
 */
export async function letThingsHappen(
  serve: WatchedServe,
  isEngineKnown: () => Promise<boolean>,
  say: (what: string) => void,
): Promise<Done> {
  const ledger = new Ledger();
  const traffic = new Traffic(serve, ledger);
  const wave = () =>
    Promise.all([
      traffic.stream('person', 40),
      traffic.stream('program', 80),
      traffic.stream('program', 60),
      traffic.stream('nightly', 60),
      traffic.stream('nightly', 60),
      traffic.answer('program', 30),
      traffic.tokenize('program'),
    ]);
  const calm = async () => {
    for (let count = 0; count < CALM_WAVES; count += 1) await wave();
  };

  say('traffic of three clients, for about a minute');
  while (!(await isEngineKnown())) {
    await wave();
    await sleep(PAUSE_MS);
  }
  say(
    `${BEYOND} requests beyond a limit, ${BEYOND} beyond the queue, ${BEYOND} without a key, and a client that leaves`,
  );
  for (let count = 0; count < LIMITED_REQUESTS + BEYOND; count += 1) await traffic.answer('limited', 4);
  for (let count = 0; count < BEYOND; count += 1) await traffic.knock();
  const burst = SLOTS + QUEUE_PLACES + BEYOND;
  await Promise.all(Array.from({ length: burst }, () => traffic.stream('program', 100)));
  await traffic.leave('person');
  await calm();

  say('kill -9 of the engine under four streams, twice');
  await killUnderStreams(serve, traffic);
  await calm();
  await killUnderStreams(serve, traffic);
  say('a segmentation fault of the engine under an answer that is not streamed');
  const beside = Promise.withResolvers<void>();
  const others = Promise.all([traffic.answer('program', 700), traffic.stream('program', 700, beside.resolve)]);
  await Promise.race([beside.promise, others]);
  await serve.endEngine('SIGSEGV');
  await others;
  say('a planned restart');
  await serve.restartEngine();
  await calm();
  return { ledger, kills: { SIGKILL: 2, SIGSEGV: 1 }, plannedRestarts: 1 };
}

/** As many streams as there are slots, and the engine killed when each of them has its first tokens. */
async function killUnderStreams(serve: WatchedServe, traffic: Traffic): Promise<void> {
  let begun = 0;
  const { promise: allBegun, resolve } = Promise.withResolvers<void>();
  const onTokens = () => {
    if ((begun += 1) === SLOTS) resolve();
  };
  const streams = Promise.all(Array.from({ length: SLOTS }, () => traffic.stream('program', 400, onTokens)));
  await Promise.race([allBegun, streams]);
  await serve.endEngine('SIGKILL');
  await streams;
}
