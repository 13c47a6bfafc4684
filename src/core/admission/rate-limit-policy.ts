import type { Config } from '../config.ts';
import { CLIENT_POOLS, type Client, type ClientLimits, type ClientPool } from './client.ts';

/**
 * The arithmetic of rate limits: whose limits apply, what is reserved, and what a reservation means. No I/O and no clock.
 */

/** The limits that count something within a window of time. */
export type WindowName = 'requestsPerMinute' | 'requestsPerHour' | 'tokensPerMinute' | 'tokensPerDay';
/** Every limit that a client can reach. */
export type RateLimitName = WindowName | 'maxConcurrent';

/** One kind of window. It starts with the first request that falls into it, and everything in it comes back at its end. */
export interface RateLimitWindow {
  readonly name: WindowName;
  readonly unit: 'requests' | 'tokens';
  /** Its name in the IETF fields: `requests-per-minute`. */
  readonly policy: string;
  readonly durationMs: number;
}

/** The windows, shortest first within each unit. */
export const RATE_LIMIT_WINDOWS: readonly RateLimitWindow[] = [
  { name: 'requestsPerMinute', unit: 'requests', policy: 'requests-per-minute', durationMs: 60_000 },
  { name: 'requestsPerHour', unit: 'requests', policy: 'requests-per-hour', durationMs: 3_600_000 },
  { name: 'tokensPerMinute', unit: 'tokens', policy: 'tokens-per-minute', durationMs: 60_000 },
  { name: 'tokensPerDay', unit: 'tokens', policy: 'tokens-per-day', durationMs: 86_400_000 },
];

/** What a client has left of one limit. */
export interface WindowState {
  readonly window: RateLimitWindow;
  readonly limit: number;
  readonly remaining: number;
  /** Time until the window ends and the whole limit is there again, in ms. */
  readonly resetMs: number;
}

/** What a client has left of each of its limits that a request was counted in. */
export interface RateLimitState {
  readonly windows: readonly WindowState[];
}

/** What one request wants of one window. */
export interface Claim {
  readonly window: RateLimitWindow;
  readonly limit: number;
  /** What it would like to have: a request, or its prompt and all that it may generate. */
  readonly wanted: number;
  /** What it cannot do without: a request, or its prompt and one token. */
  readonly least: number;
}

/** What a window held after a claim was added to it in full. */
export interface Reading {
  readonly consumedPoints: number;
  /** Time until the window ends, in ms. */
  readonly msBeforeNext: number;
}

/** Size of a request, as far as limits care. */
export interface RequestSize {
  readonly promptTokens: number;
  /** Most tokens it may generate; null: as many as there are. */
  readonly maxTokens: number | null;
  /** False for routes that use no tokens: then the limits of tokens do not apply. */
  readonly countsTokens: boolean;
}

/** What becomes of a request whose claims were added to all their windows. */
export interface Verdict {
  readonly admitted: boolean;
  /** Index of the refusing claim whose window ends last; -1: no window refuses. */
  readonly refusedBy: number;
  /** Tokens that the request may use; null: unlimited. Meaningless when refused. */
  readonly tokenBudget: number | null;
}

const NO_LIMITS: ClientLimits = {
  requestsPerMinute: null,
  requestsPerHour: null,
  tokensPerMinute: null,
  tokensPerDay: null,
  maxConcurrent: null,
};

/** Limits of each pool: its own over those for everybody. */
export function poolLimits(config: Config['rateLimit']): Record<ClientPool, ClientLimits> {
  const limits = { user: NO_LIMITS, session: NO_LIMITS, ip: NO_LIMITS, anonymous: NO_LIMITS };
  for (const pool of CLIENT_POOLS) limits[pool] = overlay(config.pools[pool], config);
  return limits;
}

/** Limits of one client: its own over those of its pool. null is no limit, undefined inherits. */
export function clientLimits(client: Client, pools: Record<ClientPool, ClientLimits>): ClientLimits {
  const inherited = pools[client.pool];
  for (const name in client.limits) {
    if (Object.hasOwn(client.limits, name)) return overlay(client.limits, inherited);
  }
  return inherited;
}

/** Whether nothing at all is limited. */
export function isUnlimited(limits: ClientLimits): boolean {
  return (
    limits.requestsPerMinute === null &&
    limits.requestsPerHour === null &&
    limits.tokensPerMinute === null &&
    limits.tokensPerDay === null &&
    limits.maxConcurrent === null
  );
}

/** What a request claims of each window that limits its client. */
export function claimsOf(limits: ClientLimits, size: RequestSize, windows: readonly RateLimitWindow[]): Claim[] {
  const claims: Claim[] = [];
  for (const window of windows) {
    const limit = limits[window.name];
    if (limit === null) continue;
    if (window.unit === 'requests') claims.push({ window, limit, wanted: 1, least: 1 });
    else if (size.countsTokens) claims.push(tokenClaim(window, limit, size));
  }
  return claims;
}

function tokenClaim(window: RateLimitWindow, limit: number, size: RequestSize): Claim {
  // Whole numbers: the counters of the store know no others.
  const prompt = Math.ceil(size.promptTokens);
  const least = prompt + (size.maxTokens === 0 ? 0 : 1);
  // More than the whole limit is never there: claiming it would only have to be given back.
  const wanted = size.maxTokens === null ? limit : Math.min(limit, prompt + Math.ceil(size.maxTokens));
  return { window, limit, wanted: Math.max(least, wanted), least };
}

/**
 * Decides over a request from what its windows held after its claims were added. The counters only ever count up
 * before this decision, so of two requests that race for the last of a limit at most one is admitted. `leased` says
 * whether it may be in flight beside the client's others.
 */
export function decide(claims: readonly Claim[], readings: readonly Reading[], leased: boolean): Verdict {
  let refusedBy = -1;
  let tokenBudget: number | null = null;
  for (let index = 0; index < claims.length; index++) {
    const claim = claims[index]!;
    const reading = readings[index]!;
    const granted = claim.wanted - Math.max(0, reading.consumedPoints - claim.limit);
    if (granted < claim.least) {
      if (refusedBy === -1 || reading.msBeforeNext > readings[refusedBy]!.msBeforeNext) refusedBy = index;
    } else if (claim.window.unit === 'tokens' && (tokenBudget === null || granted < tokenBudget)) {
      tokenBudget = granted;
    }
  }
  return { admitted: leased && refusedBy === -1, refusedBy, tokenBudget };
}

/** What a request keeps of a claim. */
export function keptOf(claim: Claim, verdict: Verdict): number {
  if (!verdict.admitted) return 0;
  return claim.window.unit === 'requests' ? 1 : (verdict.tokenBudget ?? 0);
}

/** What the client has left, once everything that the request does not keep was given back. */
export function stateAfter(claims: readonly Claim[], readings: readonly Reading[], verdict: Verdict): RateLimitState {
  const windows = claims.map((claim, index): WindowState => {
    const { consumedPoints, msBeforeNext } = readings[index]!;
    const used = consumedPoints - claim.wanted + keptOf(claim, verdict);
    const remaining = Math.max(0, claim.limit - used);
    return { window: claim.window, limit: claim.limit, remaining, resetMs: msBeforeNext };
  });
  return { windows };
}

/** What was told `elapsedMs` ago, as it is now if nothing was used since. */
export function stateLater({ windows }: RateLimitState, elapsedMs: number): RateLimitState {
  const later = ({ window, limit, remaining, resetMs }: WindowState): WindowState =>
    resetMs <= elapsedMs
      ? { window, limit, remaining: limit, resetMs: 0 }
      : { window, limit, remaining, resetMs: resetMs - elapsedMs };
  return { windows: windows.map(later) };
}

/** What a client has that has used nothing. */
export function untouchedState(limits: ClientLimits, windows: readonly RateLimitWindow[]): RateLimitState {
  const states: WindowState[] = [];
  for (const window of windows) {
    const limit = limits[window.name];
    if (limit !== null) states.push({ window, limit, remaining: limit, resetMs: 0 });
  }
  return { windows: states };
}

function overlay(own: Partial<ClientLimits>, inherited: ClientLimits): ClientLimits {
  const pick = (name: RateLimitName) => (own[name] === undefined ? inherited[name] : own[name]);
  return {
    requestsPerMinute: pick('requestsPerMinute'),
    requestsPerHour: pick('requestsPerHour'),
    tokensPerMinute: pick('tokensPerMinute'),
    tokensPerDay: pick('tokensPerDay'),
    maxConcurrent: pick('maxConcurrent'),
  };
}
