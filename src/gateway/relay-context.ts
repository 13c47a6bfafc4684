import type { LlameroError } from '../core/errors.ts';
import type { ContinuationRules } from '../core/openai/continuation/plan-stream.ts';
import type { AnswerKeeper } from './answer-keeper.ts';
import type { GatewayBackend } from './backend.ts';
import type { HeldBodies } from './incoming-body.ts';
import type { GatewayLimits } from './limits.ts';
import type { RelayedAnswer } from './relayed-answer.ts';
import type { ResumableStreams } from './resumable-streams.ts';
import type { StreamPacer } from './stream-pacer.ts';

/** What all relays of one gateway share. */
export interface RelayContext extends HeldBodies {
  readonly backend: GatewayBackend;
  readonly limits: GatewayLimits;
  readonly allowRemoteMedia: boolean;
  /** How streams go on whose request does not say. */
  readonly continuation: ContinuationRules;
  /** Whole-request limit of answers that are no streams, in ms; null: none. */
  readonly timeoutMs: number | null;
  /** Whole-request limit of streams, in ms; null: none. */
  readonly streamTimeoutMs: number | null;
  /** Every relay whose answer has not reached its client. */
  readonly answers: AnswerKeeper<RelayedAnswer>;
  readonly pacer: StreamPacer;
  /** Streams whose clients may come back. */
  readonly resumables: ResumableStreams;
  /** How many relays have not got their answer. */
  running: number;
  /** Set while the gateway drains: the reason that new requests get. */
  closing: LlameroError | null;
  /** Called when the last running relay ended. */
  onIdle: (() => void) | null;
}
