import { hash, randomBytes } from 'node:crypto';
import { LlameroError } from '../errors.ts';
import type { LlameroEmitter } from '../events.ts';
import type { KnownClient } from './client-table.ts';
import type { Claim, RateLimitName, RateLimitState } from './rate-limit-policy.ts';

/** A client is reported at most this often: a flood of refusals must not become a flood of log lines. */
const REPORT_INTERVAL_MS = 1000;

/** When one of many requests in flight ends cannot be known; a client that waits this long does not hammer. */
const CONCURRENCY_RETRY_MS = 1000;

/** A limit that refused a request. */
export interface Refusal {
  readonly name: RateLimitName;
  readonly limit: number;
  readonly retryAfterMs: number;
}

/** Turns refusals into errors for the client and events for the operator. */
export class RefusalReporter {
  readonly #events: LlameroEmitter;
  /** Hashes of clients say nothing outside of this process. */
  readonly #salt = randomBytes(16).toString('base64url');

  constructor(events: LlameroEmitter) {
    this.#events = events;
  }

  /** Tells of a refusal, and hands back the error that the client gets. */
  refuse(requestId: string, client: KnownClient, refusal: Refusal, state: RateLimitState): LlameroError {
    const nowMs = Date.now();
    client.refusals += 1;
    if (nowMs - client.refusalReportedMs >= REPORT_INTERVAL_MS) {
      this.#events.publish('rate-limit', {
        id: requestId,
        pool: client.pool,
        client: hash('sha256', this.#salt + client.key).slice(0, 16),
        limit: refusal.name,
        retryAfterMs: refusal.retryAfterMs,
        refusals: client.refusals,
      });
      client.refusals = 0;
      client.refusalReportedMs = nowMs;
    }
    return new LlameroError('rate_limit_exceeded', describeRefusal(refusal), {
      retryAfterMs: refusal.retryAfterMs,
      details: { pool: client.pool, limit: refusal.name, limits: state },
    });
  }
}

/** The refusal of a window that ends in `msBeforeNext`. */
export function windowRefusal(claim: Claim, msBeforeNext: number): Refusal {
  // One ms more, because timers may fire a fraction of one early.
  return { name: claim.window.name, limit: claim.limit, retryAfterMs: Math.max(0, msBeforeNext) + 1 };
}

/** The refusal because of `limit` requests in flight. */
export function concurrencyRefusal(limit: number): Refusal {
  return { name: 'maxConcurrent', limit, retryAfterMs: CONCURRENCY_RETRY_MS };
}

/** A prompt that is larger than the whole limit is refused for good: no waiting would help it. */
export function promptAboveLimit(claim: Claim): LlameroError {
  const limit = `limit of ${claim.limit} ${words(claim.window.name)}`;
  return new LlameroError(
    'request_too_large',
    `The request needs at least about ${claim.least} tokens, more than your whole ${limit}.`,
    { details: { limit: claim.window.name, neededTokens: claim.least, limitTokens: claim.limit } },
  );
}

function describeRefusal(refusal: Refusal): string {
  if (refusal.name === 'maxConcurrent') {
    return `You have ${refusal.limit} requests in flight, as many as you may have at once; wait for one to end.`;
  }
  const seconds = Math.ceil(refusal.retryAfterMs / 1000);
  return `You reached your limit of ${refusal.limit} ${words(refusal.name)}; it ends in ${seconds} s.`;
}

/** `requestsPerMinute` as a person says it: `requests per minute`. */
function words(name: RateLimitName): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
