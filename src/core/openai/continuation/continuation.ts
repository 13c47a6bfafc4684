import type { TokenCounts } from '../../events.ts';

/**
 * How a stream goes on whose engine was lost in the middle: what is kept of it while it runs, what is asked of the next engine,
 * and how that engine's stream becomes the rest of the first one. Wire formats only; no I/O.
 *
 * Three ways: `ids` continues behind the token ids that were sent (`/completion`); `text` behind the text that was sent;
 * `replay` asks for the whole answer again with the same seed, compares it with what was sent, and leaves that out.
 */
export type ContinuationWay = 'ids' | 'text' | 'replay';

/** What is kept of a stream: bounded by its tokens, some four bytes for each. On the path of every token. */
export interface StreamJournal {
  /** Whole events that go to the client, as they came from the engine. */
  note(events: Buffer): void;
  /** Data events so far, `[DONE]` aside. */
  readonly events: number;
  /** Whether nothing more than the formal end can come: the finish was seen. */
  readonly finished: boolean;
}

/** The request that makes the next engine go on, and what makes its stream the rest of the first. */
export interface Continuation {
  readonly body: Buffer;
  readonly splicer: StreamSplicer;
}

/** Turns the stream of a continuing engine into the rest of the client's stream. */
export interface StreamSplicer {
  /**
   * @param events whole events of the new engine; for `replay` from its first one on.
   * @returns what the client gets, maybe empty; null when the new stream differs from what was sent, so that nothing of it may be.
   */
  take(events: Buffer): Buffer | null;
  /** Tokens of the whole stream, given those that the new engine tells of its part. */
  usage(part: TokenCounts | null): TokenCounts | null;
}
