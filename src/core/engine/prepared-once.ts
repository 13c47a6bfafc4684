import type { EngineLaunch } from './engine-run.ts';
import { endLeftovers } from './runtime-directory.ts';

type Prepare = (signal: AbortSignal) => Promise<EngineLaunch>;

/**
 * What goes before every start but has to be done only once: finding engine and model, and ending what a dead llamero left behind.
 * What failed is done again the next time.
 */
export function preparedOnce(prepare: Prepare, env: NodeJS.ProcessEnv): Prepare {
  let launch: EngineLaunch | null = null;
  let leftoversEnded = false;
  return async (signal) => {
    launch ??= await prepare(signal);
    if (!leftoversEnded) {
      await endLeftovers(env);
      leftoversEnded = true;
    }
    signal.throwIfAborted();
    return launch;
  };
}
