import type { Config } from '../config.ts';
import { LlameroError } from '../errors.ts';
import type { LlameroEmitter } from '../events.ts';
import { ClientTable, type KnownClient } from './client-table.ts';
import type { Client, ClientLimits, ClientPool } from './client.ts';
import { MemoryCounters, type Lease, type RateLimitCounters } from './rate-limit-counters.ts';
import { SettlingGrant, type RateGrant } from './rate-limit-grant.ts';
import {
  claimsOf,
  clientLimits,
  decide,
  isUnlimited,
  keptOf,
  poolLimits,
  RATE_LIMIT_WINDOWS,
  untouchedState,
  stateAfter,
  stateLater,
  type Claim,
  type RateLimitState,
  type RateLimitWindow,
  type Reading,
  type RequestSize,
} from './rate-limit-policy.ts';
import { concurrencyRefusal, promptAboveLimit, RefusalReporter, windowRefusal } from './rate-limit-refusals.ts';
import { RateLimitStore, type StoreTimes } from './rate-limit-store.ts';

export type { RateGrant } from './rate-limit-grant.ts';
export type { RateLimitState } from './rate-limit-policy.ts';

/** The part of the configuration that limits are made from. */
export type RateLimitsConfig = Config['rateLimit'] & { readonly cleanup: Config['cleanup'] };

/** A request that asks to be admitted. */
export interface RateLimitedRequest extends RequestSize {
  readonly id: string;
  readonly client: Client;
}

/** What tests set. */
export interface RateLimitsOptions {
  /** The windows, with other durations; default {@link RATE_LIMIT_WINDOWS}. A store counts whole seconds only. */
  readonly windows?: readonly RateLimitWindow[];
  readonly storeTimes?: Partial<StoreTimes>;
}

/** How soon a request may come back that was refused because the store cannot be reached. */
const STORE_RETRY_MS = 1000;

/**
 * Owner of what every client used up of its limits. A request reserves at admission what it may use at most, and settles
 * with what it really used; a refused request costs nothing.
 */
export class RateLimits {
  readonly #config: RateLimitsConfig;
  readonly #pools: Record<ClientPool, ClientLimits>;
  readonly #windows: readonly RateLimitWindow[];
  readonly #refusals: RefusalReporter;
  readonly #clients: ClientTable;
  readonly #sweeping: NodeJS.Timeout;
  readonly #store: RateLimitStore | null;
  #memory: MemoryCounters | null = null;
  #loading: Promise<MemoryCounters> | null = null;

  constructor(config: RateLimitsConfig, events: LlameroEmitter, options: RateLimitsOptions = {}) {
    this.#config = config;
    this.#pools = poolLimits(config);
    this.#windows = options.windows ?? RATE_LIMIT_WINDOWS;
    this.#refusals = new RefusalReporter(events);
    this.#clients = new ClientTable(config.maxClients, (client) => this.#memory?.forget(client));
    const { interval, maxAge } = config.cleanup;
    this.#sweeping = setInterval(() => this.#clients.sweep(Date.now(), maxAge), interval).unref();
    const publish = (ok: boolean, message: string) => events.publish('rate-limit-store', { ok, message });
    this.#store =
      config.store === null ? null : new RateLimitStore(config.store, this.#windows, publish, options.storeTimes);
  }

  /** Clients of whom something is known. */
  get clients(): number {
    return this.#clients.size;
  }

  /** Whether {@link admit} may have to wait for a store; without one it answers within the same turn of the event loop. */
  get mayWait(): boolean {
    return this.#store !== null;
  }

  /** False when nothing is limited for this client: then there is no need for {@link admit}. */
  needsCheck(client: Client): boolean {
    return !isUnlimited(clientLimits(client, this.#pools));
  }

  /**
   * What the client has left, for answers to requests that were refused before their limits were asked. It costs and waits for
   * nothing: what other processes have counted since in a shared store is not in it.
   */
  leftOf(client: Client): RateLimitState {
    const told = this.#clients.find(client.key)?.told ?? null;
    if (told !== null) return stateLater(told.state, Date.now() - told.atMs);
    return untouchedState(clientLimits(client, this.#pools), this.#windows);
  }

  /**
   * Reserves what the request may use. The signal ends waiting for the store; what was reserved by then is given back.
   * @throws LlameroError `rate_limit_exceeded`, with `details.limits` ({@link RateLimitState}); `request_too_large` when
   * not even the whole limit of tokens would do; `rate_limits_unavailable`; `cancelled`.
   */
  async admit(request: RateLimitedRequest, signal: AbortSignal): Promise<RateGrant> {
    const limits = clientLimits(request.client, this.#pools);
    const claims = claimsOf(limits, request, this.#windows);
    for (const claim of claims) if (claim.least > claim.limit) throw promptAboveLimit(claim);
    const client = this.#clients.see(request.client.key, request.client.pool, Date.now());
    const attempt = { request, client, claims, maxConcurrent: limits.maxConcurrent, signal };
    // Memory does not keep anybody waiting.
    if (this.#store !== null) return await orAborted(this.#reserveInTurn(attempt), signal);
    if (this.#memory === null || needsTurn(attempt)) return await this.#reserveInTurn(attempt);
    throwIfAborted(signal);
    // What nearly every request takes, with as few promises as may be: each costs some tenths of a microsecond. Memory does not
    // fail, and nothing is gained by asking for all at once. The client is not forgotten meanwhile.
    const memory = this.#memory;
    const reservedAtMs = Date.now();
    const readings: Reading[] = [];
    client.inUse += 1;
    for (const { window, wanted } of claims) readings.push(await memory.add(window, client, wanted));
    client.inUse -= 1;
    return this.#grantOrRefuse(attempt, memory, reservedAtMs, readings, null);
  }

  /** Lets go of the timers, of which every window in memory has one, and of the store. Grants may still be settled; what they hold in a store ends by itself. */
  async stop(): Promise<void> {
    clearInterval(this.#sweeping);
    this.#clients.clear();
    await this.#store?.stop();
  }

  async #reserveInTurn(attempt: Attempt): Promise<RateGrant> {
    attempt.client.inUse += 1;
    try {
      return await (needsTurn(attempt) ? inTurn(attempt.client, () => this.#reserve(attempt)) : this.#reserve(attempt));
    } finally {
      attempt.client.inUse -= 1;
    }
  }

  async #reserve(attempt: Attempt): Promise<RateGrant> {
    throwIfAborted(attempt.signal);
    if (this.#store === null) return await this.#reserveIn(this.#memory ?? (await this.#load()), attempt);
    if (await this.#store.usable()) {
      try {
        return await this.#reserveIn(this.#store, attempt);
      } catch (error) {
        // Anything but a refusal is the failure of the store, which has reported it.
        if (error instanceof LlameroError) throw error;
      }
    }
    throwIfAborted(attempt.signal);
    if (this.#config.storeFailure === 'allow') {
      return await this.#reserveIn(this.#memory ?? (await this.#load()), attempt);
    }
    throw new LlameroError('rate_limits_unavailable', 'The store of the rate limits cannot be reached.', {
      retryAfterMs: STORE_RETRY_MS,
    });
  }

  /** Adds all claims to their windows, decides, and takes back what the request does not keep. */
  async #reserveIn(counters: RateLimitCounters, attempt: Attempt): Promise<RateGrant> {
    const { client, claims, maxConcurrent } = attempt;
    const reservedAtMs = Date.now();
    const adding = claims.map((claim) => counters.add(claim.window, client, claim.wanted));
    const leasing = maxConcurrent === null ? null : counters.takeLease(client, maxConcurrent);
    const [readings, lease] = await bothOrNeither(adding, leasing, (index, reading) => {
      const { window, wanted } = claims[index]!;
      counters.correct(window, client, -wanted, reservedAtMs + reading.msBeforeNext);
    });
    return this.#grantOrRefuse(attempt, counters, reservedAtMs, readings, lease);
  }

  #grantOrRefuse(
    { request, client, claims, maxConcurrent }: Attempt,
    counters: RateLimitCounters,
    reservedAtMs: number,
    readings: readonly Reading[],
    lease: Lease | null,
  ): RateGrant {
    const verdict = decide(claims, readings, maxConcurrent === null || lease !== null);
    for (let index = 0; index < claims.length; index++) {
      const claim = claims[index]!;
      const surplus = claim.wanted - keptOf(claim, verdict);
      const endsAtMs = reservedAtMs + readings[index]!.msBeforeNext;
      if (surplus > 0) counters.correct(claim.window, client, -surplus, endsAtMs);
    }
    const state = stateAfter(claims, readings, verdict);
    client.told = { state, atMs: reservedAtMs };
    if (verdict.admitted) {
      return new SettlingGrant({ counters, client, state, reservedAtMs, lease }, verdict.tokenBudget);
    }
    lease?.release();
    const { refusedBy } = verdict;
    const refusal =
      refusedBy === -1
        ? concurrencyRefusal(maxConcurrent ?? 0)
        : windowRefusal(claims[refusedBy]!, readings[refusedBy]!.msBeforeNext);
    throw this.#refusals.refuse(request.id, client, refusal, state);
  }

  #load(): Promise<MemoryCounters> {
    this.#loading ??= MemoryCounters.load(this.#windows).then((memory) => (this.#memory = memory));
    return this.#loading;
  }
}

/** One request on its way through the limits. */
interface Attempt {
  readonly request: RateLimitedRequest;
  readonly client: KnownClient;
  readonly claims: readonly Claim[];
  readonly maxConcurrent: number | null;
  readonly signal: AbortSignal;
}

/**
 * A claim takes all that it may need before it knows what is there, so a second one beside it could be refused because
 * of what the first one is about to give back: tokens, or anything when its lease is refused. Where only requests are
 * counted that cannot be, and nobody waits.
 */
function needsTurn({ claims, maxConcurrent }: Attempt): boolean {
  return maxConcurrent !== null || claims.at(-1)?.window.unit === 'tokens';
}

/** Does the work when all earlier work of the client is done. */
function inTurn<Result>(client: KnownClient, work: () => Promise<Result>): Promise<Result> {
  const working = client.turn === null ? work() : client.turn.then(work);
  const turn = working.then(ignore, ignore);
  client.turn = turn;
  const leave = () => {
    if (client.turn === turn) client.turn = null;
  };
  void turn.then(leave, ignore);
  return working;
}

/** Waits for all readings and the lease; when one of them fails, the others are undone as they come. */
async function bothOrNeither(
  adding: readonly Promise<Reading>[],
  leasing: Promise<Lease | null> | null,
  undo: (index: number, reading: Reading) => void,
): Promise<[Reading[], Lease | null]> {
  try {
    return await Promise.all([Promise.all(adding), leasing]);
  } catch (error) {
    for (const [index, promise] of adding.entries()) promise.then((reading) => undo(index, reading)).catch(ignore);
    leasing?.then((lease) => lease?.release()).catch(ignore);
    throw error;
  }
}

/** The grant, or an error when the signal fires first; a grant that comes too late is refunded. */
async function orAborted(reserving: Promise<RateGrant>, signal: AbortSignal): Promise<RateGrant> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => {
    aborted.reject(abortError(signal));
    reserving.then((grant) => grant.refund()).catch(ignore);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([reserving, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw abortError(signal);
}

function abortError(signal: AbortSignal): LlameroError {
  if (signal.reason instanceof LlameroError) return signal.reason;
  return new LlameroError('cancelled', 'The request was cancelled.', { cause: signal.reason });
}

/** For what was reported where it happened, and is nobody's business here. */
function ignore(): void {}
