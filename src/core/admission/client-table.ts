import { CLIENT_POOLS, type ClientPool } from './client.ts';
import type { RateLimitState } from './rate-limit-policy.ts';

/** What rate limiting remembers of one client. */
export interface KnownClient {
  readonly key: string;
  readonly pool: ClientPool;
  /** Its name in a store; empty until it is needed. */
  storeKey: string;
  lastSeenMs: number;
  /** When the last of its windows in memory ends (`Date.now()`): forgetting it earlier would forgive what it used. */
  windowsEndMs: number;
  /** Requests of it that hold a reservation or a lease, or wait for one. It is not forgotten meanwhile. */
  inUse: number;
  /** Requests of it in flight, as far as this process leases them itself. */
  leases: number;
  /** The last of its requests that wait for their turn to reserve; null: nobody does. */
  turn: Promise<void> | null;
  /** Refusals since the last one that was reported. */
  refusals: number;
  refusalReportedMs: number;
  /** What its last request that asked was told, and when (`Date.now()`); null: nothing yet. */
  told: { readonly state: RateLimitState; readonly atMs: number } | null;
  older: KnownClient | null;
  newer: KnownClient | null;
}

/**
 * A bounded table of clients. When it is full, the least recently seen client of the fullest pool goes, so that a flood
 * of addresses does not wash out what is known of users with a name.
 */
export class ClientTable {
  readonly #maxClients: number;
  readonly #forget: (client: KnownClient) => void;
  readonly #clients = new Map<string, KnownClient>();
  readonly #pools: Record<ClientPool, SeenList> = {
    user: new SeenList(),
    session: new SeenList(),
    ip: new SeenList(),
    anonymous: new SeenList(),
  };

  /** `forget` is told of every client that leaves the table. */
  constructor(maxClients: number, forget: (client: KnownClient) => void) {
    this.#maxClients = maxClients;
    this.#forget = forget;
  }

  /** Clients in the table. */
  get size(): number {
    return this.#clients.size;
  }

  /** The client of that key, if it is known; this does not count as seeing it. */
  find(key: string): KnownClient | null {
    return this.#clients.get(key) ?? null;
  }

  /** The client of that key, now the most recently seen one; a new one if it is not known. */
  see(key: string, pool: ClientPool, nowMs: number): KnownClient {
    const known = this.#clients.get(key);
    if (known !== undefined) {
      known.lastSeenMs = nowMs;
      this.#pools[known.pool].moveToEnd(known);
      return known;
    }
    if (this.#clients.size >= this.#maxClients) this.#evictOne();
    const client = newClient(key, pool, nowMs);
    this.#clients.set(key, client);
    this.#pools[pool].append(client);
    return client;
  }

  /** Forgets who was not seen for `maxAgeMs`, holds nothing, and has no window open. */
  sweep(nowMs: number, maxAgeMs: number): void {
    for (const pool of CLIENT_POOLS) {
      let client = this.#pools[pool].oldest;
      while (client !== null && client.lastSeenMs <= nowMs - maxAgeMs) {
        const { newer } = client;
        if (client.inUse === 0 && client.windowsEndMs <= nowMs) this.#remove(client);
        client = newer;
      }
    }
  }

  /** Forgets everybody, whatever they hold. */
  clear(): void {
    for (const client of this.#clients.values()) this.#remove(client);
  }

  /** When nobody can go, the table grows by one: it is bounded by the requests in flight then. */
  #evictOne(): void {
    if (this.#evictFrom(this.#fullestPool())) return;
    for (const pool of CLIENT_POOLS) if (this.#evictFrom(this.#pools[pool])) return;
  }

  #evictFrom(list: SeenList): boolean {
    // Clients in use are passed over and count as seen, so that the next search does not meet them again.
    for (let passed = list.size; passed > 0; passed--) {
      const client = list.oldest;
      if (client === null) return false;
      if (client.inUse === 0) {
        this.#remove(client);
        return true;
      }
      list.moveToEnd(client);
    }
    return false;
  }

  #fullestPool(): SeenList {
    let fullest = this.#pools.anonymous;
    for (const pool of CLIENT_POOLS) if (this.#pools[pool].size > fullest.size) fullest = this.#pools[pool];
    return fullest;
  }

  #remove(client: KnownClient): void {
    this.#clients.delete(client.key);
    this.#pools[client.pool].remove(client);
    this.#forget(client);
  }
}

/** Clients in the order in which they were last seen: linked through the clients themselves. */
class SeenList {
  oldest: KnownClient | null = null;
  size = 0;
  #newest: KnownClient | null = null;

  append(client: KnownClient): void {
    client.older = this.#newest;
    client.newer = null;
    if (this.#newest === null) this.oldest = client;
    else this.#newest.newer = client;
    this.#newest = client;
    this.size += 1;
  }

  remove(client: KnownClient): void {
    if (client.older === null) this.oldest = client.newer;
    else client.older.newer = client.newer;
    if (client.newer === null) this.#newest = client.older;
    else client.newer.older = client.older;
    client.older = null;
    client.newer = null;
    this.size -= 1;
  }

  moveToEnd(client: KnownClient): void {
    if (this.#newest === client) return;
    this.remove(client);
    this.append(client);
  }
}

function newClient(key: string, pool: ClientPool, nowMs: number): KnownClient {
  return {
    key,
    pool,
    storeKey: '',
    lastSeenMs: nowMs,
    windowsEndMs: 0,
    inUse: 0,
    leases: 0,
    turn: null,
    refusals: 0,
    refusalReportedMs: 0,
    told: null,
    older: null,
    newer: null,
  };
}
