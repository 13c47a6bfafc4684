import type { RateLimitState } from '../admission/rate-limit-policy.ts';
import type { LlameroError } from '../errors.ts';
import type { LlameroEmitter } from '../events.ts';
import type { PipelineRequest, ResponseHead, ResponseSink } from '../exchange.ts';
import { EventFramer } from '../openai/event-framer.ts';
import type { PromptProgress } from '../openai/prompt-progress.ts';

const COLON = 58;
const NOTHING = Buffer.alloc(0);
/** The last event of `/completion` repeats the prompt; a longer one than this is not read once more. */
const MOST_AUDITED_BYTES = 262_144;

/**
 * Stands between the pipeline and whoever asked for a stream, and looks whether what is ended as complete does end as its dialect
 * says. It trusts none of what put the stream together (frames, continuation, what was asked for beside it), so that a mistake there is seen: an
 * event `stream-truncated`, and a metric that has to stay 0. Costs two assignments per piece, and reading the last events once more.
 */
export class AuditedSink implements ResponseSink {
  readonly #sink: ResponseSink;
  readonly #request: PipelineRequest;
  readonly #events: LlameroEmitter;
  #isStream = false;
  #last: Buffer = NOTHING;
  #beforeLast: Buffer = NOTHING;

  constructor(sink: ResponseSink, request: PipelineRequest, events: LlameroEmitter) {
    this.#sink = sink;
    this.#request = request;
    this.#events = events;
  }

  onLimits(state: RateLimitState): void {
    this.#sink.onLimits?.(state);
  }

  onQueued(position: number): void {
    this.#sink.onQueued?.(position);
  }

  onProgress(progress: PromptProgress): void {
    this.#sink.onProgress?.(progress);
  }

  onHead(head: ResponseHead): void {
    this.#isStream = head.contentType.startsWith('text/event-stream');
    this.#sink.onHead(head);
  }

  onData(chunk: Buffer): boolean {
    if (chunk[0] !== COLON) {
      this.#beforeLast = this.#last;
      this.#last = chunk;
    }
    return this.#sink.onData(chunk);
  }

  onEnd(): void {
    if (this.#isStream && this.#isTruncated()) {
      const { id, route } = this.#request;
      this.#events.publish('stream-truncated', { id, route: route.name });
    }
    this.#sink.onEnd();
  }

  onError(error: LlameroError): void {
    this.#sink.onError(error);
  }

  #isTruncated(): boolean {
    if (this.#beforeLast.length + this.#last.length > MOST_AUDITED_BYTES) return false;
    const framer = new EventFramer();
    // What a caller asked for beside the events may come behind their end.
    if (this.#beforeLast.length > 0) framer.push(this.#beforeLast);
    framer.push(this.#last);
    return !framer.isComplete(this.#request.route.dialect);
  }
}
