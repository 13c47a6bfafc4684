import { checkAftermath, checkEachEndedOnce } from './aftermath.ts';
import { playClient, type Scene } from './clients.ts';
import { checkEnd } from './end.ts';
import { tormentEngine } from './faults.ts';
import { Ledger } from './ledger.ts';
import { learnReferences } from './references.ts';
import { Serve } from './serve.ts';
import { watch } from './watch.ts';

/** How a run is made. */
export interface ChaosOptions {
  readonly seed: number;
  /** How long clients come and the engine is hurt, in ms. */
  readonly durationMs: number;
  readonly clients: number;
  /** Least and most time between two faults, in ms. */
  readonly faultEveryMs: readonly [number, number];
  /** Rounds of ten requests in which the counters are compared. */
  readonly quietRounds: number;
  /** The llama-server. */
  readonly command: string;
  /** Told how it goes, every two seconds. */
  readonly progress?: (ledger: Ledger) => void;
}

/**
 * Torments a `llamero serve` with a real llama-server: clients that come, leave, stall, flood and lie, while the engine is
 * killed and frozen; then looks whether everything was answered, and whether anything is left.
 * @returns all that was seen; `violations` is empty when every invariant held.
 * @throws Error when it cannot even be started.
 */
export async function runChaos(options: ChaosOptions): Promise<Ledger> {
  const { seed, durationMs, clients, faultEveryMs, quietRounds, progress } = options;
  const serve = await Serve.start(options.command);
  const enginePids = new Set<number>();
  const ledger = new Ledger();
  try {
    const scene: Scene = { serve, ledger, seed, known: await learnReferences(serve) };
    const over = AbortSignal.timeout(durationMs);
    const watched = new AbortController();
    const watching = watch(serve, ledger, watched.signal, () => {
      void rememberEngine(serve, enginePids);
      progress?.(ledger);
    });
    // Clients come until the engine is back from its last fault, or nobody would be there to get its next token.
    const tormented = new AbortController();
    const playing = Array.from({ length: clients }, (_, client) => playClient(scene, client, tormented.signal));
    const tormenting = tormentEngine(serve, ledger, { seed, everyMs: faultEveryMs }, over);
    await Promise.all([...playing, tormenting.finally(() => tormented.abort())]);
    watched.abort();
    await watching;
    await checkAftermath(scene, quietRounds);
    await rememberEngine(serve, enginePids);
    await checkEnd(scene, enginePids);
    checkEachEndedOnce(scene);
  } catch (error) {
    ledger.violation(`the run broke off: ${error instanceof Error ? error.stack : String(error)}`);
    await serve.stop();
  }
  return ledger;
}

async function rememberEngine(serve: Serve, pids: Set<number>): Promise<void> {
  try {
    const { pid } = await serve.status();
    if (pid !== null) pids.add(pid);
  } catch {
    // That llamero does not answer is noticed where it matters.
  }
}
