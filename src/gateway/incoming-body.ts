import { LlameroError } from '../core/errors.ts';

/** What all bodies of one gateway have in common. */
export interface HeldBodies {
  readonly bodyLimitBytes: number;
  /** Most bytes of request bodies that are held at once, by all requests together. */
  readonly heldBodiesLimitBytes: number;
  /** How many are held now. */
  heldBodiesBytes: number;
}

/** The body of one request as it comes in, within the limits of one body and of all. Counts as held until {@link release}. */
export class IncomingBody {
  readonly #held: HeldBodies;
  #first: Buffer | null = null;
  #more: Buffer[] | null = null;
  #bytes = 0;

  constructor(held: HeldBodies) {
    this.#held = held;
  }

  /** @returns the reason to refuse a body of that length, `request_too_large`; or null. */
  expect(lengthBytes: number): LlameroError | null {
    const { bodyLimitBytes } = this.#held;
    if (lengthBytes <= bodyLimitBytes) return null;
    const message = `The request body is larger than the limit of ${bodyLimitBytes} bytes.`;
    return new LlameroError('request_too_large', message);
  }

  /** @returns the reason to refuse the body, `request_too_large` or `memory_pressure`; or null. */
  add(chunk: Buffer): LlameroError | null {
    const held = this.#held;
    this.#bytes += chunk.length;
    held.heldBodiesBytes += chunk.length;
    if (this.#first === null) this.#first = chunk;
    else (this.#more ??= [this.#first]).push(chunk);
    if (held.heldBodiesBytes <= held.heldBodiesLimitBytes) return this.expect(this.#bytes);
    const message = 'Too many large requests at once; there is no memory for another body.';
    return new LlameroError('memory_pressure', message, { retryAfterMs: 1000 });
  }

  /** The whole; this lets go of it. */
  take(): Buffer {
    const body = this.#more === null ? (this.#first ?? Buffer.alloc(0)) : Buffer.concat(this.#more);
    this.drop();
    return body;
  }

  /** Lets go of what came. */
  drop(): void {
    this.#first = null;
    this.#more = null;
  }

  /** The request is over: its body is held no longer. */
  release(): void {
    this.#held.heldBodiesBytes -= this.#bytes;
    this.#bytes = 0;
  }
}
