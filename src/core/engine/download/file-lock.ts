import { setTimeout as sleep } from 'node:timers/promises';
import { LlameroError } from '../../errors.ts';

/** Options of {@link withFileLock}. */
export interface FileLockOptions {
  readonly signal?: AbortSignal | undefined;
  /** The lock itself; default: `.lock` beside `path`. */
  readonly lockPath?: string;
  /**
   * Age at which a lock that was not refreshed belongs to a dead process and is taken over, in ms. Default 5000; less than
   * 2000 counts as 2000.
   */
  readonly staleMs?: number | undefined;
  /** Called again and again while another process holds the lock. */
  readonly onWait?: (waitedMs: number) => void;
}

const POLL_MS = 250;
const STALE_MS = 5000;

/**
 * Runs `work` while this process alone holds the lock of `path` (which need not exist; its folder must). The lock is a
 * directory whose time its owner refreshes, so that it survives nothing but its owner. `work` gets a signal that also
 * fires when the lock is lost, which happens to a process that was stopped for longer than `staleMs`.
 * @throws LlameroError `cancelled`; `install_failed` when the lock was lost; whatever `work` throws.
 */
export async function withFileLock<Result>(
  path: string,
  options: FileLockOptions,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const { signal } = options;
  const lost = new AbortController();
  try {
    const release = await acquire(path, lost, options);
    try {
      return await work(signal === undefined ? lost.signal : AbortSignal.any([signal, lost.signal]));
    } finally {
      // A lost lock belongs to someone else by now.
      if (!lost.signal.aborted) await release();
    }
  } catch (error) {
    if (signal?.aborted === true) throw new LlameroError('cancelled', 'It was cancelled.', { cause: error });
    if (!lost.signal.aborted) throw error;
    const message = 'The lock was lost: this process was stopped for too long. Run it again.';
    throw new LlameroError('install_failed', message, { cause: lost.signal.reason });
  }
}

async function acquire(
  path: string,
  lost: AbortController,
  { signal, lockPath, staleMs = STALE_MS, onWait }: FileLockOptions,
): Promise<() => Promise<void>> {
  // Loaded here because it puts listeners for exit signals on the process as soon as it is loaded.
  const { lock } = await import('proper-lockfile');
  const startedAt = performance.now();
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await lock(path, {
        realpath: false,
        stale: staleMs,
        onCompromised: (error) => lost.abort(error),
        ...(lockPath === undefined ? {} : { lockfilePath: lockPath }),
      });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ELOCKED') throw error;
    }
    onWait?.(performance.now() - startedAt);
    await sleep(POLL_MS, undefined, { signal });
  }
}
