import { LlameroError } from './errors.ts';
import type { PipelineRequest } from './exchange.ts';
import { isJsonAnswer } from './openai/json-answer.ts';
import { StreamTrace } from './openai/stream-trace.ts';
import { WholeAnswer } from './whole-answer.ts';

const NOTHING = Buffer.alloc(0);

/**
 * What a caller asked of a stream beside its events: that they come only when the answer is complete, so that it can be asked
 * for again whatever happens before; or to be told at its end how often it went on.
 */
export class StreamDelivery {
  readonly #request: PipelineRequest;
  #trace: StreamTrace | null;
  #held: WholeAnswer | null;

  /** @returns null where nothing is asked for, which is nearly always. */
  static of(request: PipelineRequest): StreamDelivery | null {
    const plan = request.continuation;
    return plan === null || (plan.commit === null && !plan.isTraced) ? null : new StreamDelivery(request);
  }

  private constructor(request: PipelineRequest) {
    this.#request = request;
    this.#trace = this.#newTrace();
    this.#held = this.#newHold();
  }

  /**
   * @param events whole events for the caller.
   * @param continued how often the stream has gone on with another engine.
   * @returns what goes out now, maybe nothing.
   * @throws LlameroError `engine_bad_response` when more than 128 MiB would have to be held.
   */
  pass(events: Buffer, continued: number): Buffer {
    const traced = this.#trace === null ? events : this.#trace.take(events, continued);
    if (this.#held === null) return traced;
    this.#held.add(traced);
    return NOTHING;
  }

  /**
   * The engine has answered to the end.
   * @returns what was held back.
   * @throws LlameroError `engine_bad_response` when the answer should be JSON and is not.
   */
  complete(): Buffer {
    const rest = this.#trace?.rest() ?? NOTHING;
    if (this.#held === null) return rest;
    this.#held.add(rest);
    const events = this.#held.bytes();
    const { continuation, route, work } = this.#request;
    if (continuation?.commit === 'valid-json' && !isJsonAnswer(events, route.dialect, work.maxTokens)) {
      throw new LlameroError('engine_bad_response', 'The answer is not the JSON that was asked for.');
    }
    return events;
  }

  /** The answer is asked for again from its beginning. */
  restart(): void {
    this.#trace = this.#newTrace();
    this.#held = this.#newHold();
  }

  #newTrace(): StreamTrace | null {
    const { continuation, route } = this.#request;
    return continuation?.isTraced === true ? new StreamTrace(route.dialect) : null;
  }

  #newHold(): WholeAnswer | null {
    return (this.#request.continuation?.commit ?? null) === null ? null : new WholeAnswer();
  }
}
