import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 250;
/** The least that proper-lockfile takes: what a killed process leaves holds the next one up for no longer. */
const STALE_MS = 5000;

/**
 * Runs `work` while this process alone holds the lock of `path` (which need not exist; its folder must). A process that
 * died leaves a lock that is taken over after 5 s. Should the lock be lost in spite of that, `work`'s signal aborts.
 */
export async function withFileLock<Result>(
  path: string,
  options: { signal?: AbortSignal; onWait?: () => void },
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const lost = new AbortController();
  const release = await acquire(path, lost, options);
  try {
    return await work(options.signal === undefined ? lost.signal : AbortSignal.any([options.signal, lost.signal]));
  } finally {
    // A lost lock belongs to someone else by now.
    if (!lost.signal.aborted) await release();
  }
}

async function acquire(
  path: string,
  lost: AbortController,
  options: { signal?: AbortSignal; onWait?: () => void },
): Promise<() => Promise<void>> {
  // Loaded here because it puts listeners for exit signals on the process as soon as it is loaded.
  const { lock } = await import('proper-lockfile');
  for (let waited = false; ; waited = true) {
    options.signal?.throwIfAborted();
    try {
      return await lock(path, { realpath: false, stale: STALE_MS, onCompromised: (error) => lost.abort(error) });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ELOCKED') throw error;
    }
    if (!waited) options.onWait?.();
    await sleep(POLL_MS, undefined, { signal: options.signal });
  }
}
