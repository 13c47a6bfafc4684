import { createHash } from 'node:crypto';
import { LlameroError } from '../errors.ts';

/** Identity of a request: route and body. Made by {@link fingerprintOf} only. */
export type Fingerprint = string & { readonly __brand: 'fingerprint' };

/** How long and how much is remembered. */
export interface PoisonListOptions {
  /** Deaths of the engine after which a request is refused. Default 2. */
  readonly strikesToRefuse?: number;
  /** Requests that are remembered; the oldest goes. Default 1000. */
  readonly maxEntries?: number;
  /** How long after its latest strike, in ms. Default one hour. */
  readonly expiryMs?: number;
  /** A monotonic clock in ms. */
  readonly now?: () => number;
}

/** Where a request stands after a death; the rest of a `request-suspect` event. */
export interface Strike {
  readonly strikes: number;
  readonly refused: boolean;
}

interface Entry {
  readonly strikes: number;
  /** The latest death that was counted. */
  readonly death: number;
  readonly expiresAt: number;
}

/**
 * Remembers which requests were in flight when the engine died, and refuses those that were so twice.
 *
 * One strike makes a **suspect**, which is run beside no other suspect (`Quarantine`), so that a second death names
 * one request and not its neighbours. A suspect that is answered is cleared. Two strikes, and the same
 * bytes on the same route are refused until they have expired. A caller who changes a byte of his request each time is not
 * recognised.
 *
 * Nothing is hashed while no remembered request has a body of the same length.
 */
export class PoisonList {
  readonly #strikesToRefuse: number;
  readonly #maxEntries: number;
  readonly #expiryMs: number;
  readonly #now: () => number;
  /** In order of their latest strike, and so of their expiry. */
  readonly #entries = new Map<Fingerprint, Entry>();

  constructor(options: PoisonListOptions = {}) {
    this.#strikesToRefuse = options.strikesToRefuse ?? 2;
    this.#maxEntries = options.maxEntries ?? 1000;
    this.#expiryMs = options.expiryMs ?? 3_600_000;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Requests that are remembered, suspects and refused ones. */
  get size(): number {
    this.#forgetExpired();
    return this.#entries.size;
  }

  /**
   * Looks at a request before it is sent. Requests without a body ask for facts that anybody asks for; they are not suspected.
   * @returns null: nothing is known of it. A fingerprint: it is a suspect.
   * @throws LlameroError `poisonous_request`.
   */
  inspect(route: string, body: Buffer | null): Fingerprint | null {
    if (this.#entries.size === 0 || body === null) return null;
    this.#forgetExpired();
    if (!this.#knowsLength(body.length)) return null;
    const fingerprint = fingerprintOf(route, body);
    return this.check(fingerprint) === 'suspect' ? fingerprint : null;
  }

  /** The same by fingerprint. @throws LlameroError `poisonous_request`. */
  check(fingerprint: Fingerprint): 'clean' | 'suspect' {
    this.#forgetExpired();
    const entry = this.#entries.get(fingerprint);
    if (entry === undefined) return 'clean';
    if (entry.strikes < this.#strikesToRefuse) return 'suspect';
    const refusedForMs = Math.ceil(entry.expiresAt - this.#now());
    throw new LlameroError(
      'poisonous_request',
      `The engine died ${entry.strikes} times while it worked on this request; it is refused for the next ${Math.ceil(refusedForMs / 60_000)} min.`,
      { details: { strikes: entry.strikes, refusedForMs } },
    );
  }

  /**
   * The request was at the engine when it died.
   * @param death number of the death, such as the engine's generation: many equal requests at one death are one strike.
   */
  strike(fingerprint: Fingerprint, death: number): Strike {
    this.#forgetExpired();
    const known = this.#entries.get(fingerprint);
    const strikes = known?.death === death ? known.strikes : (known?.strikes ?? 0) + 1;
    this.#entries.delete(fingerprint);
    this.#entries.set(fingerprint, { strikes, death, expiresAt: this.#now() + this.#expiryMs });
    if (this.#entries.size > this.#maxEntries) this.#forgetOldest();
    return { strikes, refused: strikes >= this.#strikesToRefuse };
  }

  /** The engine answered the request and lived: it is no suspect any more. One that is refused already stays so. */
  clear(fingerprint: Fingerprint): void {
    const entry = this.#entries.get(fingerprint);
    if (entry !== undefined && entry.strikes < this.#strikesToRefuse) this.#entries.delete(fingerprint);
  }

  #knowsLength(bytes: number): boolean {
    const prefix = `${bytes}:`;
    for (const fingerprint of this.#entries.keys()) if (fingerprint.startsWith(prefix)) return true;
    return false;
  }

  #forgetExpired(): void {
    const now = this.#now();
    for (const [fingerprint, { expiresAt }] of this.#entries) {
      if (expiresAt > now) return;
      this.#entries.delete(fingerprint);
    }
  }

  #forgetOldest(): void {
    for (const fingerprint of this.#entries.keys()) {
      this.#entries.delete(fingerprint);
      return;
    }
  }
}

/** Length of the body, which also tells where the route ends, and SHA-256 of both. Costs about a millisecond per MB. */
export function fingerprintOf(route: string, body: Buffer): Fingerprint {
  const hash = createHash('sha256').update(route).update(body).digest('base64url');
  return `${body.length}:${hash}` as Fingerprint;
}
