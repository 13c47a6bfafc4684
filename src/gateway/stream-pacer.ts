/** Events of a stream that sends faster than this are written together, in ms. */
export const PACE_MS = 10;

/** A stream that holds back what it has to write for a moment. */
export interface PacedStream {
  /** The moment is over: write. */
  flush(): void;
}

/**
 * Wakes fast streams to write what has come since. Writing costs the same for one event as for ten, and is the larger half of
 * relaying one. No event waits for longer than 10 ms; streams of fewer than 100 events a second are not touched at all, and
 * neither is the first event of any, nor the end.
 */
export class StreamPacer {
  #waiting: PacedStream[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** Calls `flush` within {@link PACE_MS}; all streams share one timer. */
  wait(stream: PacedStream): void {
    this.#waiting.push(stream);
    if (this.#timer === undefined) this.#timer = setTimeout(() => this.#wake(), PACE_MS);
  }

  #wake(): void {
    this.#timer = undefined;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const stream of waiting) stream.flush();
  }
}
