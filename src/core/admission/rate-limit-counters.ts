import type { RateLimiterMemory } from 'rate-limiter-flexible';
import type { KnownClient } from './client-table.ts';
import type { RateLimitWindow, Reading, WindowName } from './rate-limit-policy.ts';

/** Where limits are counted: in this process, or in a store that several processes share. */
export interface RateLimitCounters {
  /** Adds to a window, whatever its limit, and tells what it holds now; the first to add starts the window. */
  add(window: RateLimitWindow, client: KnownClient, points: number): Promise<Reading>;
  /** Corrects what was added to a window that ends at `endsAtMs` (`Date.now()`), unless it has ended. Does not wait. */
  correct(window: RateLimitWindow, client: KnownClient, points: number, endsAtMs: number): void;
  /** One more request of the client in flight; null: there are `limit` of them already. */
  takeLease(client: KnownClient, limit: number): Promise<Lease | null>;
}

/** The right to have a request in flight. */
export interface Lease {
  /** Gives it back; called once. */
  release(): void;
}

/** Counts in the memory of this process, with rate-limiter-flexible. */
export class MemoryCounters implements RateLimitCounters {
  readonly #limiters: Record<WindowName, RateLimiterMemory>;

  constructor(limiters: Record<WindowName, RateLimiterMemory>) {
    this.#limiters = limiters;
  }

  /** Loads the library, which takes some time that a runtime without limits need not spend. */
  static async load(windows: readonly RateLimitWindow[]): Promise<MemoryCounters> {
    const { RateLimiterMemory } = await import('rate-limiter-flexible');
    const limiters = windows.map((window) => {
      // Limits differ from client to client, so they are not the library's: it counts, rate-limit-policy.ts decides.
      const options = { points: Number.MAX_SAFE_INTEGER, duration: window.durationMs / 1000, keyPrefix: '' };
      return [window.name, new RateLimiterMemory(options)];
    });
    return new MemoryCounters(Object.fromEntries(limiters) as Record<WindowName, RateLimiterMemory>);
  }

  add(window: RateLimitWindow, client: KnownClient, points: number): Promise<Reading> {
    client.windowsEndMs = Math.max(client.windowsEndMs, Date.now() + window.durationMs);
    return this.#limiters[window.name].penalty(client.key, points);
  }

  correct(window: RateLimitWindow, client: KnownClient, points: number, endsAtMs: number): void {
    // A window that has ended would be started anew, with what is given back as a credit.
    if (Date.now() >= endsAtMs) return;
    void this.#limiters[window.name].penalty(client.key, points);
  }

  takeLease(client: KnownClient, limit: number): Promise<Lease | null> {
    return Promise.resolve(client.leases < limit ? new MemoryLease(client) : null);
  }

  /** Drops all that is counted for a client. */
  forget(client: KnownClient): void {
    for (const name in this.#limiters) void this.#limiters[name as WindowName].delete(client.key);
  }
}

class MemoryLease implements Lease {
  readonly #client: KnownClient;

  constructor(client: KnownClient) {
    this.#client = client;
    client.leases += 1;
  }

  release(): void {
    this.#client.leases -= 1;
  }
}
