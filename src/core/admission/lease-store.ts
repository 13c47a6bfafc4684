import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Lease } from './rate-limit-counters.ts';

/** Now in ms, by the clock of the store: the clocks of the gateways may differ. */
const NOW = `local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)`;

/**
 * Leases of a client are the members of a sorted set, scored with the time at which they end. A gateway that dies renews
 * nothing more, and what it held is free again within the time to live.
 */
const TAKE_LEASE = `-- llamero: take a lease
${NOW}
redis.call('zremrangebyscore', KEYS[1], '-inf', now)
if redis.call('zcard', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('zadd', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('pexpire', KEYS[1], ARGV[3])
return 1`;

const RENEW_LEASES = `-- llamero: renew leases
${NOW}
for index = 2, #ARGV do redis.call('zadd', KEYS[1], now + ARGV[1], ARGV[index]) end
redis.call('pexpire', KEYS[1], ARGV[1])
return 1`;

interface LeaseCommands {
  llameroTakeLease(key: string, id: string, limit: number, ttlMs: number): Promise<number>;
  llameroRenewLeases(key: string, ttlMs: number, ...ids: string[]): Promise<number>;
}

/** Runs a command of the store, and reports its failure. */
export type StoreCommand = <Reply>(command: () => Promise<Reply>) => Promise<Reply>;

/** Owner of the leases that this process holds in a store, and of the one timer that renews them all. */
export class LeaseStore {
  readonly #client: Redis & LeaseCommands;
  readonly #run: StoreCommand;
  readonly #ttlMs: number;
  readonly #process = randomBytes(9).toString('base64url');
  readonly #renewing: NodeJS.Timeout;
  /** An array with the place of each lease in the lease: a Set that every request passes through is kept alive by V8. */
  readonly #held: StoredLease[] = [];
  #count = 0;

  constructor(client: Redis, run: StoreCommand, ttlMs: number) {
    client.defineCommand('llameroTakeLease', { numberOfKeys: 1, lua: TAKE_LEASE });
    client.defineCommand('llameroRenewLeases', { numberOfKeys: 1, lua: RENEW_LEASES });
    this.#client = client as Redis & LeaseCommands;
    this.#run = run;
    this.#ttlMs = ttlMs;
    this.#renewing = setInterval(() => this.#renew(), ttlMs / 3).unref();
  }

  /** One more lease under that key; null: there are `limit` of them. */
  async take(key: string, limit: number): Promise<Lease | null> {
    const id = `${this.#process}:${(this.#count += 1)}`;
    const taken = await this.#run(() => this.#client.llameroTakeLease(key, id, limit, this.#ttlMs));
    if (taken === 0) return null;
    const lease = new StoredLease(key, id, (ended) => this.#drop(ended));
    lease.place = this.#held.push(lease) - 1;
    return lease;
  }

  /** Renews no more: what is held ends within its time to live. */
  stop(): void {
    clearInterval(this.#renewing);
  }

  #drop(lease: StoredLease): void {
    const last = this.#held.pop();
    if (last !== undefined && last !== lease) {
      this.#held[lease.place] = last;
      last.place = lease.place;
    }
    // A failure is reported by #run; the lease ends by itself then.
    this.#run(() => this.#client.zrem(lease.key, lease.id)).catch(() => undefined);
  }

  #renew(): void {
    for (const [key, ids] of Map.groupBy(this.#held, (lease) => lease.key)) {
      const names = ids.map((lease) => lease.id);
      this.#run(() => this.#client.llameroRenewLeases(key, this.#ttlMs, ...names)).catch(() => undefined);
    }
  }
}

class StoredLease implements Lease {
  readonly key: string;
  readonly id: string;
  readonly #drop: (lease: StoredLease) => void;
  /** Where it stands among those that are held. */
  place = 0;

  constructor(key: string, id: string, drop: (lease: StoredLease) => void) {
    this.key = key;
    this.id = id;
    this.#drop = drop;
  }

  release(): void {
    this.#drop(this);
  }
}
