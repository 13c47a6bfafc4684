import { LlameroError } from '../errors.ts';

/** Somebody who waits for a slot. The object itself is its identity in the queue. */
export interface SlotWaiter {
  /** A slot is free and is yours; give it back with {@link SlotGate.release}. */
  onSlot(): void;
}

/**
 * Lets no more requests to the engine than it has slots, and makes a bounded number of others wait, first come first
 * served. So the engine's own queue, which has neither bound nor deadline, stays empty.
 */
export class SlotGate {
  readonly #maxConcurrentRequests: number;
  readonly #maxQueue: number;
  /** An array, although leaving it early costs a search: a Set that everybody passes through makes V8 keep the dead alive. */
  readonly #queue: SlotWaiter[] = [];
  /** One until an engine has told its slots: the first request finds out whether there is an engine at all. */
  #limit = 1;
  #inUse = 0;

  constructor(limits: { readonly maxConcurrentRequests: number; readonly maxQueue: number }) {
    this.#maxConcurrentRequests = limits.maxConcurrentRequests;
    this.#maxQueue = limits.maxQueue;
  }

  /** Slots in use by requests at the engine. */
  get inUse(): number {
    return this.#inUse;
  }

  /** Requests that wait. */
  get queued(): number {
    return this.#queue.length;
  }

  /** The engine told how many slots it has. */
  setSlots(slots: number): void {
    this.#limit = Math.max(1, Math.min(slots, this.#maxConcurrentRequests));
    this.#grant();
  }

  /**
   * Takes a slot, or a place in the queue.
   * @returns true when the slot is taken; false when `onSlot` will be called later, unless {@link leave} comes first.
   * @throws LlameroError `queue_full`.
   */
  acquire(waiter: SlotWaiter): boolean {
    if (this.#inUse < this.#limit && this.#queue.length === 0) {
      this.#inUse += 1;
      return true;
    }
    if (this.#queue.length >= this.#maxQueue) {
      throw new LlameroError('queue_full', `${this.#queue.length} requests are waiting already.`, {
        retryAfterMs: 1000,
      });
    }
    this.#queue.push(waiter);
    return false;
  }

  /** Gives up the place in the queue; nothing happens to who has none. */
  leave(waiter: SlotWaiter): void {
    const place = this.#queue.indexOf(waiter);
    if (place !== -1) this.#queue.splice(place, 1);
  }

  /** Gives a slot back; the next in the queue gets it. */
  release(): void {
    this.#inUse -= 1;
    this.#grant();
  }

  #grant(): void {
    while (this.#inUse < this.#limit) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      this.#inUse += 1;
      next.onSlot();
    }
  }
}
