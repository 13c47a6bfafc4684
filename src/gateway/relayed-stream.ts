import type { GatewayResponse } from './gateway-message.ts';
import { PACE_MS, type PacedStream, type StreamPacer } from './stream-pacer.ts';
import { writeChunk } from './write-chunk.ts';

/** A fast stream holds back so many bytes at most; a stream of long events has nothing to gain. */
const MOST_HELD_BYTES = 16_384;
const HEARTBEAT = Buffer.from(': heartbeat\n\n');
/** A stream that was silent at so many looks in a row gets a heartbeat. */
const QUIET_TICKS = 3;
const STREAM_HEADERS = ['content-type', 'text/event-stream', 'cache-control', 'no-cache', 'x-accel-buffering', 'no'];

/** Where the comments of a stream go: to its client, or through what keeps the stream for it. */
export interface CommentWriter {
  write(comment: Buffer | string): unknown;
}

/** The answer of one streaming request from its head on: what is written, when, and what keeps it alive while nothing is. */
export class RelayedStream implements PacedStream {
  readonly #response: GatewayResponse;
  readonly #pacer: StreamPacer;
  readonly #comments: CommentWriter;
  /** The head goes out with what is written first. */
  #isHeadOut = false;
  #quietTicks = 0;
  #lastDataAt = 0;
  /** Events of a fast stream that wait to be written together. */
  #held: Buffer[] = [];
  #heldBytes = 0;

  /** Writes the head; it waits a moment for the first event, so that both leave in one packet. */
  constructor(
    response: GatewayResponse,
    pacer: StreamPacer,
    headers: readonly string[],
    comments: CommentWriter = response,
  ) {
    this.#response = response;
    this.#comments = comments;
    this.#pacer = pacer;
    response.writeTrustedHead([...STREAM_HEADERS, ...headers], null);
    process.nextTick(flushHead, response);
  }

  /** @returns false when the client has not taken what was written before. */
  data(events: Buffer): boolean {
    this.#quietTicks = 0;
    const now = performance.now();
    const isFast = now - this.#lastDataAt < PACE_MS;
    this.#lastDataAt = now;
    // What waits already goes first, however late the pacer is.
    return isFast || this.#heldBytes > 0 ? this.#hold(events) : this.#write(events);
  }

  /** Writes what is there and ends; `last` comes behind it. */
  end(last?: Buffer): void {
    if (last !== undefined) this.#held.push(last);
    if (this.#held.length > 0) this.#response.end(this.#takeHeld());
    else this.#response.end();
  }

  flush(): void {
    // Who does not take what was written before is not given more; the exchange is paused then.
    if (!this.#response.writableEnded && this.#heldBytes > 0) this.#write(this.#takeHeld());
  }

  /** Looked at, once per interval. `news`, if there is any, goes out as a comment; else a heartbeat when it is time for one. */
  tick(news: string | null): void {
    if (news === null && (this.#quietTicks += 1) < QUIET_TICKS) return;
    this.#quietTicks = 0;
    this.#comments.write(news === null ? HEARTBEAT : `: ${news}\n\n`);
  }

  #hold(events: Buffer): boolean {
    if (this.#heldBytes === 0) this.#pacer.wait(this);
    this.#held.push(events);
    this.#heldBytes += events.length;
    if (this.#heldBytes > MOST_HELD_BYTES) this.#write(this.#takeHeld());
    return !this.#response.writableNeedDrain;
  }

  #write(events: Buffer): boolean {
    if (this.#isHeadOut) return writeChunk(this.#response, events);
    this.#isHeadOut = true;
    const goesOn = this.#response.write(events);
    this.#response.forgetHead();
    return goesOn;
  }

  #takeHeld(): Buffer {
    const held = this.#held.length === 1 && this.#held[0] !== undefined ? this.#held[0] : Buffer.concat(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    return held;
  }
}

function flushHead(response: GatewayResponse): void {
  if (!response.destroyed && !response.writableEnded) response.flushHeaders();
}
