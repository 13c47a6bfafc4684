import { hash } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { RateLimiterRedis } from 'rate-limiter-flexible';
import type { KnownClient } from './client-table.ts';
import { LeaseStore } from './lease-store.ts';
import type { Lease, RateLimitCounters } from './rate-limit-counters.ts';
import type { RateLimitWindow, Reading, WindowName } from './rate-limit-policy.ts';

/** Durations of a store, in ms. */
export interface StoreTimes {
  /** Longest wait for the answer to one command. */
  readonly commandMs: number;
  /** Longest wait for a connection, the first request's included. */
  readonly connectMs: number;
  /** Pause before a lost connection is tried again. */
  readonly reconnectMs: number;
  /** How long a lease lives that nobody renews. */
  readonly leaseTtlMs: number;
}

const STORE_TIMES: StoreTimes = { commandMs: 250, connectMs: 1000, reconnectMs: 1000, leaseTtlMs: 15_000 };

/** As the library's own script, but giving back to a window that is gone does not start one with a credit. */
const ADD_TO_WINDOW = `-- llamero: add to a window
if tonumber(ARGV[1]) < 0 and redis.call('exists', KEYS[1]) == 0 then return {0, 0} end
redis.call('set', KEYS[1], 0, 'EX', ARGV[2], 'NX')
local consumed = redis.call('incrby', KEYS[1], ARGV[1])
local ttl = redis.call('pttl', KEYS[1])
if ttl == -1 then
  redis.call('expire', KEYS[1], ARGV[2])
  ttl = 1000 * ARGV[2]
end
return {consumed, ttl}`;

/** What there is once the libraries are loaded. */
interface Opened {
  readonly client: Redis;
  readonly limiters: Record<WindowName, RateLimiterRedis>;
  readonly leases: LeaseStore;
}

/**
 * Counts in Valkey or Redis, with rate-limiter-flexible. Never hangs: every command has a deadline, and after a failure
 * the store counts as down, and no request tries it, until a new connection has answered a command.
 */
export class RateLimitStore implements RateLimitCounters {
  readonly #times: StoreTimes;
  readonly #onChange: (ok: boolean, message: string) => void;
  /** Settles with the first answer to whether the store can be used. */
  readonly #firstTry = Promise.withResolvers<void>();
  readonly #opening: Promise<void>;
  #opened: Opened | null = null;
  /** null: not known yet. */
  #up: boolean | null = null;
  #stopped = false;
  #lastError = '';

  /** `onChange` hears of every change of whether the store can be used, but not that it can from the start. */
  constructor(
    url: string,
    windows: readonly RateLimitWindow[],
    onChange: (ok: boolean, message: string) => void,
    times: Partial<StoreTimes> = {},
  ) {
    this.#times = { ...STORE_TIMES, ...times };
    this.#onChange = onChange;
    this.#opening = this.#open(url, windows).catch((error: unknown) => this.#down(String(error)));
  }

  /** Whether the store can be used; waits only for the first connection, and not longer than one may take. */
  async usable(): Promise<boolean> {
    if (this.#up === null) await this.#firstTry.promise;
    return this.#up === true;
  }

  async add(window: RateLimitWindow, client: KnownClient, points: number): Promise<Reading> {
    return await this.#run(({ limiters }) => limiters[window.name].penalty(storeKey(client), points));
  }

  correct(window: RateLimitWindow, client: KnownClient, points: number, endsAtMs: number): void {
    // What would arrive when the window has just ended may as well end with it.
    if (Date.now() + this.#times.commandMs >= endsAtMs) return;
    // A failure is reported by #run; what was not given back comes back with the end of the window.
    this.add(window, client, points).catch(() => undefined);
  }

  async takeLease(client: KnownClient, limit: number): Promise<Lease | null> {
    if (this.#opened === null) throw new Error('not connected');
    return await this.#opened.leases.take(`llamero:leases:${storeKey(client)}`, limit);
  }

  /** Sends what was given back last, within the deadline of a command, and disconnects. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#opening;
    this.#opened?.leases.stop();
    // It answers after everything that was sent before.
    if (this.#up === true) await this.#opened?.client.quit().catch(() => undefined);
    this.#up = false;
    this.#opened?.client.disconnect();
    this.#firstTry.resolve();
  }

  async #open(url: string, windows: readonly RateLimitWindow[]): Promise<void> {
    const [{ Redis }, { RateLimiterRedis }] = await Promise.all([import('ioredis'), import('rate-limiter-flexible')]);
    if (this.#stopped) return;
    const client = new Redis(url.replace(/^valkey/, 'redis'), {
      lazyConnect: true,
      protocol: 2,
      disableClientInfo: true,
      // Nothing waits for a connection, and nothing is sent twice: adding to a window is not idempotent.
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      commandTimeout: this.#times.commandMs,
      connectTimeout: this.#times.connectMs,
      disconnectTimeout: this.#times.commandMs,
      retryStrategy: () => this.#times.reconnectMs,
    });
    const limiters = windows.map((window) => [
      window.name,
      new RateLimiterRedis({
        storeClient: client,
        keyPrefix: `llamero:${window.policy}`,
        points: Number.MAX_SAFE_INTEGER,
        duration: Math.ceil(window.durationMs / 1000),
        customIncrTtlLuaScript: ADD_TO_WINDOW,
      }),
    ]);
    const leases = new LeaseStore(client, (command) => this.#run(command), this.#times.leaseTtlMs);
    this.#opened = { client, limiters: Object.fromEntries(limiters) as Opened['limiters'], leases };
    this.#watch(client);
  }

  #watch(client: Redis): void {
    client.on('error', (error: Error) => (this.#lastError = error.message));
    client.on('close', () => this.#down(this.#lastError === '' ? 'The connection was closed.' : this.#lastError));
    client.on('ready', () => void this.#verify());
    setTimeout(() => this.#up ?? this.#down('No answer to the first connection.'), this.#times.connectMs).unref();
    // Its failure comes as 'close' as well.
    client.connect().catch(() => undefined);
  }

  /** Ready means verified: a store that cannot run the scripts, or is read-only, is of no use. */
  async #verify(): Promise<void> {
    const limiter = Object.values(this.#opened?.limiters ?? {})[0];
    try {
      await limiter?.penalty('probe', 0);
    } catch (error) {
      this.#failed(error);
      return;
    }
    this.#lastError = '';
    if (this.#up === false) this.#onChange(true, 'The store of the rate limits can be reached again.');
    this.#up = true;
    this.#firstTry.resolve();
  }

  async #run<Reply>(command: (opened: Opened) => Promise<Reply>): Promise<Reply> {
    if (this.#opened === null || this.#up !== true) throw new Error('The store is down.');
    try {
      return await command(this.#opened);
    } catch (error) {
      if (this.#up) this.#failed(error);
      throw error;
    }
  }

  /** A connection that failed once is not trusted any more: it may be open and mute. */
  #failed(error: unknown): void {
    this.#down(error instanceof Error ? error.message : String(error));
    this.#opened?.client.disconnect(true);
  }

  #down(message: string): void {
    this.#firstTry.resolve();
    if (this.#up === false || this.#stopped) return;
    this.#up = false;
    this.#onChange(false, message);
  }
}

/** Stores see a hash only: names and addresses of clients stay here, and cannot break the keys. */
function storeKey(client: KnownClient): string {
  if (client.storeKey === '') client.storeKey = hash('sha256', client.key, 'base64url');
  return client.storeKey;
}
