import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LlameroError } from '../../errors.ts';
import { throwIfCancelled } from './run-command.ts';

/** Options of {@link withInstallLock}. */
export interface InstallLockOptions {
  signal?: AbortSignal;
  /** Called about every half second while another process holds the lock. */
  onWait: (waitedMs: number) => void;
  /** A lock that was not refreshed for this long belongs to a dead process and is taken over. Default 10,000, at least 2000. */
  staleMs?: number;
}

const POLL_MS = 500;

/**
 * Runs `work` while no other process works in that directory. The lock is a directory whose time its owner refreshes,
 * so it survives nothing but its owner. `work` gets a signal that also fires when the lock is lost, which happens to a
 * process that was stopped for longer than `staleMs`.
 * @throws LlameroError `cancelled`; whatever `work` throws.
 */
export async function withInstallLock<Result>(
  directory: string,
  options: InstallLockOptions,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const { signal } = options;
  const inner = new AbortController();
  const onAbort = () => inner.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    throwIfCancelled(signal);
    await mkdir(directory, { recursive: true });
    const release = await acquire(directory, options, (cause) => inner.abort(cause));
    try {
      return await work(inner.signal);
    } catch (error) {
      throwIfCancelled(signal);
      if (!inner.signal.aborted) throw error;
      throw new LlameroError(
        'install_failed',
        'The installation lost its lock: this process was stopped for too long.',
        {
          cause: inner.signal.reason,
        },
      );
    } finally {
      // A compromised lock is no longer ours to release.
      if (!inner.signal.aborted || signal?.aborted) await release();
    }
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

async function acquire(
  directory: string,
  { signal, onWait, staleMs = 10_000 }: InstallLockOptions,
  onLost: (cause: Error) => void,
): Promise<() => Promise<void>> {
  // Loaded here because it puts listeners for exit signals on the process as soon as it is loaded.
  const { lock } = await import('proper-lockfile');
  const startedAt = Date.now();
  for (;;) {
    try {
      return await lock(directory, {
        lockfilePath: path.join(directory, 'install.lock'),
        stale: staleMs,
        update: Math.max(1000, Math.floor(staleMs / 4)),
        onCompromised: onLost,
      });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ELOCKED') throw error;
    }
    onWait(Date.now() - startedAt);
    await delay(POLL_MS, undefined, { signal }).catch((error: unknown) => {
      throwIfCancelled(signal);
      throw error;
    });
  }
}
