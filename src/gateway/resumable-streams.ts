import { randomBytes } from 'node:crypto';
import type { Config } from '../core/config.ts';
import { LlameroError } from '../core/errors.ts';
import type { EngineRoute } from '../core/openai/routes.ts';
import type { LogBudget } from './resumable-log.ts';
import { ResumableStream } from './resumable-stream.ts';

/** Whom a stream belongs to. */
export interface StreamOwner {
  /** Identity of the client. */
  readonly clientKey: string;
  /** Name of the API key that the request came with; null without one. */
  readonly apiKeyId: string | null;
}

/**
 * The streams of one gateway whose clients may come back, from their request until nobody has come back for `streamResume.maxAge`.
 * Only those that asked for it are in here.
 */
export class ResumableStreams {
  readonly #streams = new Map<string, ResumableStream>();
  readonly #budget: LogBudget;
  readonly #isEnabled: boolean;
  readonly #maxAgeMs: number;
  #closing: LlameroError | null = null;

  constructor({ enabled, maxAge, bufferPerStream, bufferTotal }: Config['streamResume']) {
    this.#isEnabled = enabled;
    this.#maxAgeMs = maxAge;
    this.#budget = { perLogBytes: bufferPerStream, totalBytes: bufferTotal, usedBytes: 0 };
  }

  /** How many streams are held, running ones included. */
  get size(): number {
    return this.#streams.size;
  }

  /** Memory of all buffers. */
  get bufferedBytes(): number {
    return this.#budget.usedBytes;
  }

  /** A new stream, or null where there can be none: switched off, closing, or no memory left for its buffer. */
  open(route: EngineRoute, owner: StreamOwner): ResumableStream | null {
    const { usedBytes, totalBytes } = this.#budget;
    if (!this.#isEnabled || this.#closing !== null || usedBytes >= totalBytes) return null;
    const id = randomBytes(18).toString('base64url');
    const stream = new ResumableStream({
      id,
      route,
      owner,
      budget: this.#budget,
      maxAgeMs: this.#maxAgeMs,
      forget: () => this.#streams.delete(id),
    });
    this.#streams.set(id, stream);
    return stream;
  }

  /**
   * The stream of that id.
   * @throws LlameroError `not_found` where there is none or it is somebody else's, which nobody can tell apart.
   */
  find(id: string, { clientKey, apiKeyId }: StreamOwner): ResumableStream {
    const stream = this.#streams.get(id);
    if (stream?.owner.clientKey === clientKey && stream.owner.apiKeyId === apiKeyId) return stream;
    throw new LlameroError('not_found', 'There is no such stream, or it is over for too long.');
  }

  /** From now on nobody can come back: streams that nobody reads end, the others are forgotten as they end. */
  close(reason: LlameroError): void {
    this.#closing = reason;
    for (const stream of this.#streams.values()) stream.close(reason);
  }
}
