import { LlameroError } from './errors.ts';
import type { ExchangeContext } from './exchange-context.ts';
import type { SlotWaiter } from './admission/fair-place.ts';

/** All the waiting of one request ahead of a sending, bounded together by `timeouts.queue`. */
export class Waiting {
  readonly #limitMs: number;
  readonly #onExpired: () => void;
  #timer: NodeJS.Timeout | undefined;
  #controller: AbortController | null = null;
  #beganAt = 0;
  #waitedMs = 0;

  constructor(limitMs: number, onExpired: () => void) {
    this.#limitMs = limitMs;
    this.#onExpired = onExpired;
  }

  /** How long it has waited in all, in ms, where it does not wait now. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  /** It waits from now on, if it did not do so before. */
  begin(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(this.#onExpired, this.#limitMs);
    this.#beganAt = performance.now();
  }

  /** Ends what is awaited when the request ends; made only where something is, since it costs some 10 µs. */
  signal(): AbortSignal {
    this.begin();
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  /** It does not wait any more; a later sending may have to wait as long again. */
  end(): void {
    if (this.#timer === undefined) return;
    this.#waitedMs += performance.now() - this.#beganAt;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Ends the waiting, and what is awaited. */
  abort(reason: LlameroError | null): void {
    this.end();
    this.#controller?.abort(reason);
  }
}

/** What a request is told that waited for `timeouts.queue`: for a slot, or for an engine. */
export function waitedInVain({ engine, timeouts, queue }: ExchangeContext, waiter: SlotWaiter): LlameroError {
  const waited = `within ${timeouts.queue} ms`;
  if (engine.current() !== null) {
    const retryAfterMs = Math.ceil(queue.estimateWaitMs(queue.positionOf(waiter)) ?? 1000);
    return new LlameroError('queue_timeout', `No slot became free ${waited}.`, { retryAfterMs });
  }
  const { state, cause } = engine.status();
  const because = cause === null ? '' : `: ${cause.message}`;
  const details = { state, cause: cause?.name };
  return new LlameroError('engine_starting', `The engine was not ready ${waited}${because}`, {
    retryAfterMs: 1000,
    details,
  });
}
