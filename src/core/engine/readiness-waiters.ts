import type { LlameroError } from '../errors.ts';
import type { ReadyEngine } from './engine-endpoint.ts';

interface Waiter {
  readonly resolve: (engine: ReadyEngine) => void;
  readonly reject: (error: unknown) => void;
}

/** Those who wait until an engine takes requests. Each is answered: with the engine, with a failure, or by its own signal. */
export class ReadinessWaiters {
  readonly #waiters = new Set<Waiter>();

  /** @throws the failure that {@link settle} brings, or the reason of the signal. */
  async wait(signal: AbortSignal): Promise<ReadyEngine> {
    const { promise, resolve, reject } = Promise.withResolvers<ReadyEngine>();
    const waiter: Waiter = { resolve, reject };
    const onAbort = (): void => reject(signal.reason);
    this.#waiters.add(waiter);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await promise;
    } finally {
      this.#waiters.delete(waiter);
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Answers all with what there is now; nobody while there is neither an engine nor a failure. */
  settle(engine: ReadyEngine | null, failure: () => LlameroError | null): void {
    if (this.#waiters.size === 0) return;
    const error = engine === null ? failure() : null;
    if (engine === null && error === null) return;
    for (const waiter of this.#waiters) {
      if (engine !== null) waiter.resolve(engine);
      else waiter.reject(error);
    }
  }
}
