import { createParser, type EventSourceParser } from 'eventsource-parser';
import { LlameroError, toLlameroError } from '../errors.ts';
import type { Exchange, ResponseSink } from '../exchange.ts';
import type { StreamPart } from './answers.ts';
import { cancelledBy, type Send } from './collect-answer.ts';

/** Parts held for a reader that is slower than the engine; beyond it the engine is made to wait. */
const HELD_PARTS = 64;

/**
 * A streamed answer as an async iterable that can be read once. The request is sent at the first read, so an iterable
 * that nobody reads costs nothing; leaving the loop early cancels the request.
 *
 * An object of its own rather than an async generator: a generator's `finally` does not run when it is returned before
 * its first read, and `return()` would wait for a pending `next()`.
 */
export class AnswerStream implements AsyncIterableIterator<StreamPart>, ResponseSink {
  readonly #send: Send;
  readonly #toPart: (event: Record<string, unknown>) => StreamPart;
  readonly #signal: AbortSignal | undefined;
  readonly #decoder = new TextDecoder();
  readonly #parser: EventSourceParser;
  readonly #parts: StreamPart[] = [];
  #readers: PromiseWithResolvers<IteratorResult<StreamPart>>[] = [];
  #exchange: Exchange | null = null;
  #state: 'new' | 'open' | 'ended' = 'new';
  #error: LlameroError | null = null;
  #paused = false;

  constructor(send: Send, toPart: (event: Record<string, unknown>) => StreamPart, signal: AbortSignal | undefined) {
    this.#send = send;
    this.#toPart = toPart;
    this.#signal = signal;
    this.#parser = createParser({ onEvent: ({ data }) => this.#onEvent(data) });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<StreamPart>> {
    if (this.#state === 'new') this.#open();
    const part = this.#parts.shift();
    if (part !== undefined) {
      this.#resumeIfDrained();
      return { done: false, value: part };
    }
    if (this.#state === 'ended') return this.#end();
    const reader = Promise.withResolvers<IteratorResult<StreamPart>>();
    this.#readers.push(reader);
    return reader.promise;
  }

  async return(): Promise<IteratorResult<StreamPart>> {
    this.#parts.length = 0;
    if (this.#state === 'open') this.#exchange?.cancel();
    this.#error = null;
    this.#close();
    return { done: true, value: undefined };
  }

  onHead(): void {
    // Status and headers say nothing to a program; errors come through onError.
  }

  onData(chunk: Buffer): boolean {
    try {
      this.#parser.feed(this.#decoder.decode(chunk, { stream: true }));
    } catch (error) {
      this.#exchange?.cancel(
        new LlameroError('engine_bad_response', 'The engine sent an event that is not JSON.', { cause: error }),
      );
      return true;
    }
    this.#paused = this.#parts.length >= HELD_PARTS;
    return !this.#paused;
  }

  onEnd(): void {
    this.#close();
  }

  onError(error: LlameroError): void {
    if (this.#state === 'ended') return;
    this.#error = error;
    this.#close();
  }

  #open(): void {
    this.#state = 'open';
    if (this.#signal?.aborted === true) {
      this.onError(cancelledBy(this.#signal));
      return;
    }
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#exchange = this.#send(this);
  }

  readonly #onAbort = (): void => this.#exchange?.cancel(cancelledBy(this.#signal));

  #onEvent(data: string): void {
    if (data === '[DONE]') return;
    const part = this.#toPart(JSON.parse(data) as Record<string, unknown>);
    const reader = this.#readers.shift();
    if (reader === undefined) this.#parts.push(part);
    else reader.resolve({ done: false, value: part });
  }

  #resumeIfDrained(): void {
    if (!this.#paused || this.#parts.length > HELD_PARTS / 2) return;
    this.#paused = false;
    this.#exchange?.resume();
  }

  #close(): void {
    this.#state = 'ended';
    this.#signal?.removeEventListener('abort', this.#onAbort);
    const readers = this.#readers;
    this.#readers = [];
    for (const reader of readers) this.#end().then(reader.resolve, reader.reject);
  }

  /** The end as a reader sees it: the error once, then done. */
  async #end(): Promise<IteratorResult<StreamPart>> {
    const error = this.#error;
    this.#error = null;
    if (error !== null) throw toLlameroError(error);
    return { done: true, value: undefined };
  }
}
