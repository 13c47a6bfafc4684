import type { KnownClient } from './client-table.ts';
import type { Lease, RateLimitCounters } from './rate-limit-counters.ts';
import type { RateLimitState } from './rate-limit-policy.ts';

/** The admission of one request by the limits of its client. */
export interface RateGrant {
  /** What the client has left, this request counted; for the headers of the answer. */
  readonly state: RateLimitState;
  /** Most prompt and completion tokens that this request may use; null: unlimited. */
  readonly tokenBudget: number | null;
  /**
   * The request is over and used that many prompt and completion tokens: what was reserved is corrected and the lease
   * given back. Exactly one of `settle` and `refund` counts, once.
   */
  settle(usedTokens: number): void;
  /** The request was refused by something else later on: it costs nothing. */
  refund(): void;
}

/** What a grant has to account for. It lives as long as its request, so it keeps no more than it needs. */
export interface Reservation {
  readonly counters: RateLimitCounters;
  readonly client: KnownClient;
  /** What the client had left; its windows are those that the request was counted in. */
  readonly state: RateLimitState;
  /** Before the windows were counted up (`Date.now()`), so that they are never thought to last longer than they do. */
  readonly reservedAtMs: number;
  readonly lease: Lease | null;
}

/** The admission that a {@link Reservation} became. */
export class SettlingGrant implements RateGrant {
  readonly tokenBudget: number | null;
  readonly #reservation: Reservation;
  #settled = false;

  constructor(reservation: Reservation, tokenBudget: number | null) {
    this.#reservation = reservation;
    this.tokenBudget = tokenBudget;
    reservation.client.inUse += 1;
  }

  get state(): RateLimitState {
    return this.#reservation.state;
  }

  settle(usedTokens: number): void {
    this.#end(0, Math.ceil(usedTokens));
  }

  refund(): void {
    this.#end(-1, 0);
  }

  #end(requests: number, usedTokens: number): void {
    if (this.#settled) return;
    this.#settled = true;
    const { client, lease } = this.#reservation;
    const tokens = usedTokens - (this.tokenBudget ?? 0);
    if (requests !== 0 || tokens !== 0) this.#correct(requests, tokens);
    lease?.release();
    client.inUse -= 1;
  }

  #correct(requests: number, tokens: number): void {
    const { counters, client, state, reservedAtMs } = this.#reservation;
    for (const { window, resetMs } of state.windows) {
      const points = window.unit === 'requests' ? requests : tokens;
      if (points !== 0) counters.correct(window, client, points, reservedAtMs + resetMs);
    }
  }
}
