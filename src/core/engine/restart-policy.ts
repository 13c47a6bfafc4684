import type { EngineHistory } from './engine-state.ts';

/** When and how often a crashed engine is started again; names as in the configuration. */
export interface RestartPolicy {
  readonly maxRestarts: number;
  /** ms */
  readonly window: number;
  /** ms */
  readonly delay: number;
  readonly backoffMultiplier: number;
  /** ms */
  readonly maxDelay: number;
}

/** The crashes that count against the limit. */
type Crashes = Pick<EngineHistory, 'crashes' | 'slow'>;

/**
 * Counts a crash at `at`. An engine that has lived through a whole window since it became ready has shown that it works: the
 * count begins anew. @param since when it became ready; null: it had not.
 */
export function countCrash(before: Crashes, since: number | null, at: number, { window }: RestartPolicy): Crashes {
  if (since !== null && at - since >= window) return { crashes: [at], slow: false };
  return { crashes: [...before.crashes.filter((time) => at - time < window), at], slow: before.slow };
}

/** Whether so many crashes are too many: then restarts come at `maxDelay`, and the engine counts as failed meanwhile. */
export function isSlow({ crashes, slow }: Crashes, policy: RestartPolicy): boolean {
  return slow || crashes.length > policy.maxRestarts;
}

/**
 * The delay before restart number `restarts` within the window. The first comes at once: one crash is an accident, and
 * somebody waits. From the second on it is exponential, at most `maxDelay`, with "equal jitter": half of it fixed,
 * half random, so that many engines do not start in step.
 */
export function restartDelayMs(restarts: number, random: number, policy: RestartPolicy): number {
  if (restarts <= 1) return 0;
  const full = Math.min(policy.maxDelay, policy.delay * policy.backoffMultiplier ** (restarts - 2));
  return Math.round(full / 2 + (full / 2) * random);
}
