const BUCKET_MS = 1000;

/** How many retries are allowed. */
export interface RetryBudgetOptions {
  /** Part of the traffic that may be retries. Default 0.1. */
  readonly ratio?: number;
  /**
   * Retries that are always allowed within the window, so that a retry is possible where there is little traffic. At
   * least as many as requests can be at the engine, so that what was lost with one engine can all be sent again. Default 10.
   */
  readonly floor?: number;
  /** The sliding window, in ms; counted by whole seconds. Default 60,000. */
  readonly windowMs?: number;
  /** A monotonic clock in ms. */
  readonly now?: () => number;
}

/**
 * Keeps retries a small part of the traffic, so that they cannot keep an overloaded engine overloaded: at most `ratio` of
 * the requests of the last minute, or `floor`, whichever is more. After the retry budgets of Finagle
 * (`com.twitter.finagle.service.RetryBudget`).
 */
export class RetryBudget {
  readonly #ratio: number;
  readonly #floor: number;
  readonly #now: () => number;
  /** A ring of seconds. */
  readonly #requests: Uint32Array;
  readonly #retries: Uint32Array;
  /** The second that is being counted, since the clock's zero. */
  #second: number;
  /** Sums of the ring. */
  #requestsInWindow = 0;
  #retriesInWindow = 0;

  constructor({ ratio = 0.1, floor = 10, windowMs = 60_000, now = () => performance.now() }: RetryBudgetOptions = {}) {
    const buckets = Math.max(1, Math.ceil(windowMs / BUCKET_MS));
    this.#ratio = ratio;
    this.#floor = floor;
    this.#now = now;
    this.#requests = new Uint32Array(buckets);
    this.#retries = new Uint32Array(buckets);
    this.#second = this.#currentSecond();
  }

  /** A request is sent for the first time. */
  countRequest(): void {
    const bucket = this.#bucket();
    this.#requests[bucket] = (this.#requests[bucket] ?? 0) + 1;
    this.#requestsInWindow += 1;
  }

  /** Whether one more retry is within the budget. */
  hasRoom(): boolean {
    this.#bucket();
    return this.#retriesInWindow < Math.max(this.#floor, Math.floor(this.#ratio * this.#requestsInWindow));
  }

  /** A request is sent again; ask {@link hasRoom} first. */
  countRetry(): void {
    const bucket = this.#bucket();
    this.#retries[bucket] = (this.#retries[bucket] ?? 0) + 1;
    this.#retriesInWindow += 1;
  }

  /** The bucket of this second; what fell out of the window is taken off the sums. */
  #bucket(): number {
    const buckets = this.#requests.length;
    const second = this.#currentSecond();
    const passed = Math.min(buckets, second - this.#second);
    for (let step = 0; step < passed; step += 1) {
      const bucket = (second - step) % buckets;
      this.#requestsInWindow -= this.#requests[bucket] ?? 0;
      this.#retriesInWindow -= this.#retries[bucket] ?? 0;
      this.#requests[bucket] = 0;
      this.#retries[bucket] = 0;
    }
    this.#second = second;
    return second % buckets;
  }

  #currentSecond(): number {
    return Math.floor(this.#now() / BUCKET_MS);
  }
}
