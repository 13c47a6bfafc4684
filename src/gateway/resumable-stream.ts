import type { RateLimitState } from '../core/admission/rate-limit-policy.ts';
import { LlameroError } from '../core/errors.ts';
import type { Exchange, PipelineRequest, ResponseHead, ResponseSink } from '../core/exchange.ts';
import { streamErrorEvent } from '../core/openai/error-body.ts';
import type { PromptProgress } from '../core/openai/prompt-progress.ts';
import type { EngineRoute } from '../core/openai/routes.ts';
import type { GatewayBackend } from './backend.ts';
import { splitEvents, withEventId } from './resumable-events.ts';
import { type LogBudget, ResumableLog } from './resumable-log.ts';
import type { StreamOwner } from './resumable-streams.ts';

/** What a {@link ResumableStream} is made of. */
export interface ResumableStreamOptions {
  /** Unguessable. */
  readonly id: string;
  readonly route: EngineRoute;
  readonly owner: StreamOwner;
  readonly budget: LogBudget;
  /** How long it is kept while nobody reads it. */
  readonly maxAgeMs: number;
  /** Called once, when nobody can come back any more. */
  readonly forget: () => void;
}

/** One connection that reads the stream; what its relay takes for the exchange. */
class StreamReader implements Exchange {
  readonly sink: ResponseSink;
  /** What it has been given. */
  offset: number;
  isPaused = false;
  readonly #stream: ResumableStream;

  constructor(stream: ResumableStream, sink: ResponseSink, offset: number) {
    this.#stream = stream;
    this.sink = sink;
    this.offset = offset;
  }

  resume(): void {
    this.isPaused = false;
    this.#stream.readOn(this);
  }

  queuePosition(): number | null {
    return this.#stream.queuePosition();
  }

  /** Without a reason the client is gone, which ends nothing. */
  cancel(reason?: LlameroError): void {
    if (reason === undefined) this.#stream.leave(this);
    else this.#stream.cancel(reason);
  }
}

/**
 * A stream between its exchange and whichever connection its client has just now. It owns the exchange: a connection that breaks does not
 * end it, nobody coming back does. Everything that the client gets goes through its log, comments and the error at the end included,
 * so an offset is simply the number of bytes that have arrived.
 */
export class ResumableStream implements ResponseSink {
  readonly id: string;
  readonly route: EngineRoute;
  readonly owner: StreamOwner;
  readonly #options: ResumableStreamOptions;
  readonly #log: ResumableLog;
  #exchange: Exchange | null = null;
  #head: ResponseHead | null = null;
  #reader: StreamReader | null = null;
  /** What the last reader was given. */
  #position = 0;
  /** Its client knows the id. */
  #isAnnounced = false;
  #isPaused = false;
  #isComplete = false;
  #isCancelled = false;
  /** Nobody can come back: it goes when its reader does. */
  #isClosed = false;
  #expiry: NodeJS.Timeout | undefined;

  constructor(options: ResumableStreamOptions) {
    this.#options = options;
    this.id = options.id;
    this.route = options.route;
    this.owner = options.owner;
    this.#log = new ResumableLog(options.budget);
  }

  /** Sends the request; `sink` is the first to read. */
  begin(backend: GatewayBackend, request: PipelineRequest, sink: ResponseSink): Exchange {
    const reader = new StreamReader(this, sink, 0);
    this.#reader = reader;
    try {
      const exchange = backend.exchange(request, this);
      if (!this.#isComplete) this.#exchange = exchange;
    } catch (error) {
      this.#forget();
      throw error;
    }
    return reader;
  }

  /** The id goes out to the client: from now on it may come back. */
  announce(): string {
    this.#isAnnounced = true;
    return this.id;
  }

  /** Whether somebody who has `offset` bytes has everything. */
  hasEndedAt(offset: number): boolean {
    return this.#isComplete && offset === this.#log.end;
  }

  /** @throws LlameroError `stream_position_lost` where the bytes from there on are no longer held, `invalid_request` where there never were any. */
  checkOffset(offset: number): void {
    if (offset > this.#log.end) {
      throw new LlameroError('invalid_request', `The stream has no more than ${this.#log.end} bytes until now.`, {
        param: 'x-stream-offset',
      });
    }
    if (offset < this.#log.start) {
      const message = `The stream is held from byte ${this.#log.start} on only; what was before it is lost.`;
      throw new LlameroError('stream_position_lost', message, { details: { heldFrom: this.#log.start } });
    }
  }

  /**
   * Goes on at `offset`, which was checked, with another connection. One that still reads is told so, and ends: the client that
   * comes back knows better than this side whether its old connection is alive.
   */
  attach(sink: ResponseSink, offset: number): Exchange {
    clearTimeout(this.#expiry);
    const older = this.#reader;
    const reader = new StreamReader(this, sink, offset);
    this.#reader = reader;
    older?.sink.onError(
      new LlameroError('stream_taken_over', 'Another connection of this client reads the stream now.'),
    );
    if (this.#head !== null) sink.onHead(this.#head);
    this.readOn(reader);
    return reader;
  }

  /** A connection is gone. */
  leave(reader: StreamReader): void {
    if (reader !== this.#reader) return;
    this.#reader = null;
    this.#await();
    this.#goOn();
  }

  /** Gives a reader what there is for it. */
  readOn(reader: StreamReader): void {
    if (reader !== this.#reader) return;
    while (!reader.isPaused && reader.offset < this.#log.end) {
      const piece = this.#log.read(reader.offset);
      reader.offset += piece.length;
      reader.isPaused = !reader.sink.onData(piece);
    }
    this.#position = reader.offset;
    if (this.#isComplete && reader.offset === this.#log.end) {
      this.#reader = null;
      this.#await();
      reader.sink.onEnd();
    } else {
      this.#goOn();
    }
  }

  /** Ends it now; whoever reads is told `reason`. Nobody can come back. */
  cancel(reason: LlameroError): void {
    this.#isClosed = true;
    this.#isCancelled = true;
    if (this.#exchange === null) this.#endWith(reason);
    else this.#exchange.cancel(reason);
  }

  /** From now on nobody can come back; without a reader it ends. */
  close(reason: LlameroError): void {
    this.#isClosed = true;
    if (this.#reader === null) this.cancel(reason);
  }

  queuePosition(): number | null {
    return this.#exchange?.queuePosition() ?? null;
  }

  /** Adds a comment of the gateway. */
  write(comment: Buffer | string): void {
    if (this.#isComplete) return;
    this.#log.append(Buffer.from(comment));
    this.#deliver();
  }

  onLimits(state: RateLimitState): void {
    this.#reader?.sink.onLimits?.(state);
  }

  onQueued(position: number): void {
    this.#reader?.sink.onQueued?.(position);
  }

  onProgress(progress: PromptProgress): void {
    this.#reader?.sink.onProgress?.(progress);
  }

  onHead(head: ResponseHead): void {
    this.#head = head;
    this.#reader?.sink.onHead(head);
  }

  onData(events: Buffer): boolean {
    if (this.#isCancelled) return true;
    // No stream after all, but one whole answer.
    if (!this.#isAnnounced) return this.#reader?.sink.onData(events) ?? true;
    for (const event of splitEvents(events)) this.#log.append(withEventId(event, this.id, this.#log.end));
    this.#deliver();
    this.#isPaused = !this.#hasRoom();
    return !this.#isPaused;
  }

  onEnd(): void {
    this.#complete();
    if (this.#isAnnounced) this.#deliver();
    else this.#endWith(null);
  }

  onError(error: LlameroError): void {
    this.#complete();
    if (this.#isAnnounced && !this.#isCancelled) {
      this.#log.append(withEventId(streamErrorEvent(this.route.dialect, error), this.id, this.#log.end));
      this.#deliver();
    } else {
      this.#endWith(error);
    }
  }

  #complete(): void {
    this.#isComplete = true;
    this.#exchange = null;
  }

  #deliver(): void {
    if (this.#reader !== null) this.readOn(this.#reader);
    this.#log.trim(this.#position);
  }

  /**
   * Half of the buffer may be unread: the other half is for what a broken connection was given and may not have received. A
   * reader that does not keep up holds the engine back as everywhere.
   */
  #hasRoom(): boolean {
    if (this.#reader?.isPaused === true) return false;
    const unreadBytes = this.#log.heldFrom(this.#position);
    return unreadBytes === 0 || (unreadBytes <= this.#options.budget.perLogBytes / 2 && this.#log.trim(this.#position));
  }

  #goOn(): void {
    if (!this.#isPaused || !this.#hasRoom()) return;
    this.#isPaused = false;
    this.#exchange?.resume();
  }

  /** Nobody reads. */
  #await(): void {
    if (this.#isClosed || !this.#isAnnounced) {
      this.cancel(new LlameroError('cancelled', 'The client is gone.'));
      return;
    }
    const expire = () => this.cancel(new LlameroError('cancelled', 'The client did not come back.'));
    this.#expiry = setTimeout(expire, this.#options.maxAgeMs).unref();
  }

  #endWith(error: LlameroError | null): void {
    const reader = this.#reader;
    this.#reader = null;
    this.#forget();
    if (error === null) reader?.sink.onEnd();
    else reader?.sink.onError(error);
  }

  #forget(): void {
    clearTimeout(this.#expiry);
    this.#log.clear();
    this.#options.forget();
  }
}
