/** How many sessions are believed in. */
export interface SessionRollOptions {
  /** Sessions of one address at a time. Default 16. */
  readonly sessionsPerAddress?: number;
  /** Addresses that are remembered; the least recently seen goes. Default 4000. */
  readonly maxAddresses?: number;
  /** How long a session counts after its last request, in ms. */
  readonly maxAgeMs: number;
  /** A clock in ms. */
  readonly now?: () => number;
}

/**
 * The sessions that callers without a key name themselves. Each is a client of its own, so an address may have a few of them at
 * a time and no more: whoever makes up a new one for each request soon counts as his address again.
 */
export class SessionRoll {
  readonly #sessionsPerAddress: number;
  readonly #maxAddresses: number;
  readonly #maxAgeMs: number;
  readonly #now: () => number;
  /** When each session was seen last, by address; addresses in order of their last request. */
  readonly #addresses = new Map<string, Map<string, number>>();

  constructor(options: SessionRollOptions) {
    this.#sessionsPerAddress = options.sessionsPerAddress ?? 16;
    this.#maxAddresses = options.maxAddresses ?? 4000;
    this.#maxAgeMs = options.maxAgeMs;
    this.#now = options.now ?? (() => performance.now());
  }

  /** A request of that session came. @returns false when its address has as many others already: then it counts as no session. */
  admit(address: string, sessionId: string): boolean {
    const now = this.#now();
    const sessions = this.#sessionsOf(address);
    if (!sessions.has(sessionId) && sessions.size >= this.#sessionsPerAddress) {
      for (const [id, seenAt] of sessions) if (now - seenAt > this.#maxAgeMs) sessions.delete(id);
      if (sessions.size >= this.#sessionsPerAddress) return false;
    }
    sessions.set(sessionId, now);
    return true;
  }

  #sessionsOf(address: string): Map<string, number> {
    const sessions = this.#addresses.get(address) ?? new Map<string, number>();
    this.#addresses.delete(address);
    this.#addresses.set(address, sessions);
    if (this.#addresses.size > this.#maxAddresses) {
      for (const oldest of this.#addresses.keys()) {
        this.#addresses.delete(oldest);
        break;
      }
    }
    return sessions;
  }
}
