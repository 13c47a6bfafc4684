import type { Dispatcher } from 'undici';
import type { ReadyEngine } from './engine/engine-endpoint.ts';
import { LlameroError, toLlameroError } from './errors.ts';
import type { RequestTrace, TokenCounts } from './events.ts';
import type { PipelineRequest } from './exchange.ts';
import { checkAnswer, engineFailure, streamFailure } from './openai/engine-answer.ts';
import { EventFramer } from './openai/event-framer.ts';
import { ProgressFilter, type PromptProgress } from './openai/prompt-progress.ts';
import { tokenCountsIn } from './openai/usage.ts';
import type { WatchedExchange } from './resilience/hang-watch.ts';
import { WholeAnswer } from './whole-answer.ts';

/** Whoever made a call hears what comes of it: any number of the first four, then exactly one of the last three. */
export interface CallOwner {
  /** The engine answered: its status line came. */
  onCallHead(status: number): void;
  /** The engine is reading the prompt. */
  onCallProgress(progress: PromptProgress): void;
  /**
   * Whole events of a stream, `tokens` of them with data.
   * @returns false to pause.
   */
  onCallEvents(events: Buffer, tokens: number): boolean;
  /** The whole answer of a request that is no stream, checked. */
  onCallAnswer(body: Buffer): void;
  /** The answer is complete. */
  onCallEnd(usage: TokenCounts | null): void;
  /** The engine answered with an error, or nonsense. */
  onCallFailed(error: LlameroError): void;
  /** The connection was lost, or never came about. */
  onCallLost(error: NodeJS.ErrnoException): void;
}

type CallPhase = 'prefill' | 'decode' | 'whole';

/**
 * One request sent once to one engine: the handler that undici calls. A second try is another call, so what comes late of
 * an earlier one reaches nobody.
 */
export class EngineCall implements Dispatcher.DispatchHandler, WatchedExchange {
  readonly engine: ReadyEngine;
  readonly request: PipelineRequest;
  /** Signs of life so far: events with data, and pieces of a whole answer. */
  lifeCount = 0;
  watchedLifeCount = -1;
  watchedSilentMs = 0;
  /** Its place among the calls at the engines; belongs to their list. */
  listIndex = -1;
  readonly #trace: RequestTrace | null;
  #owner: CallOwner | null;
  #ended = false;
  #phase: CallPhase;
  /** Its reader does not keep up, so that nothing can come. */
  #paused = false;
  #controller: Dispatcher.DispatchController | null = null;
  #abortReason: LlameroError | null = null;
  #status = 0;
  #retryAfterMs: number | null = null;
  #framer: EventFramer | null = null;
  #filter: ProgressFilter | null = null;
  #whole: WholeAnswer | null = null;

  constructor(engine: ReadyEngine, request: PipelineRequest, owner: CallOwner, trace: RequestTrace | null = null) {
    this.engine = engine;
    this.request = request;
    this.#owner = owner;
    this.#trace = trace;
    this.#phase = request.stream ? 'prefill' : 'whole';
  }

  get generation(): number {
    return this.engine.generation;
  }

  get phase(): CallPhase | null {
    return this.#paused || !this.request.route.needsSlot ? null : this.#phase;
  }

  /** Status of the engine's answer; 0 before it came. */
  get status(): number {
    return this.#status;
  }

  /** What the engine asked for with `Retry-After`, in ms; null: nothing. */
  get retryAfterMs(): number | null {
    return this.#retryAfterMs;
  }

  /** Whether the engine may still be at work on it: it has neither ended its answer nor broken the connection. */
  get isOpen(): boolean {
    return !this.#ended;
  }

  /** Whether the last event of the stream has come: only the formal end of the HTTP body is missing. */
  get isComplete(): boolean {
    return this.#framer?.isComplete(this.request.route.dialect) === true;
  }

  /** @param body what goes to the engine, which may be more than the caller sent. */
  send(body: Buffer | null): void {
    const { route, query } = this.request;
    const { dispatcher } = this.engine;
    const headers = this.#headers(body);
    // llama-server closes the connection behind every stream, although it announces to keep it: what is sent on it then is lost.
    const reset = this.request.stream;
    dispatcher.dispatch({ path: route.path + query, method: route.method, headers, body, reset }, this);
  }

  resume(): void {
    this.#paused = false;
    this.#controller?.resume();
  }

  /** What the stream has cost, as far as the engine has told by now. */
  usage(): TokenCounts | null {
    return this.#framer?.tokenCounts() ?? null;
  }

  /** Ends a call that has been silent for too long; its owner hears of the failure. */
  giveUp(error: LlameroError): void {
    this.#fail(error);
  }

  /** Closes the connection, which is what makes llama-server free the slot. The owner hears nothing any more. */
  abort(reason: LlameroError): void {
    this.#owner = null;
    this.#abortReason = reason;
    this.#controller?.abort(reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // Aborted while undici was still connecting: this is the first moment at which it can be told.
    if (this.#abortReason !== null) controller.abort(this.#abortReason);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200) return;
    // Nobody reads them again, and a stream would keep each as a buffer of its own for as long as it lasts.
    controller.rawHeaders = null;
    this.#status = status;
    this.lifeCount += 1;
    if (status !== 200) this.#retryAfterMs = retryAfterOf(headers['retry-after']);
    this.#owner?.onCallHead(status);
    const isEvents = String(headers['content-type'] ?? '').startsWith('text/event-stream');
    const { stream, route, work } = this.request;
    if (status === 200 && stream && isEvents) {
      this.#framer = new EventFramer();
      this.#filter = new ProgressFilter(route.dialect, work.wantsProgress);
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#owner === null) return;
    if (this.#framer === null) this.#collect(chunk);
    else if (!this.#relay(this.#framer, chunk)) {
      this.#paused = true;
      controller.pause();
    }
  }

  onResponseEnd(): void {
    this.#ended = true;
    const owner = this.#owner;
    if (owner === null) return;
    if (this.#framer === null) {
      this.#endWhole(owner);
    } else if (this.#framer.isComplete(this.request.route.dialect)) {
      this.#owner = null;
      owner.onCallEnd(this.#framer.tokenCounts());
    } else {
      this.#fail(new LlameroError('stream_interrupted', 'The engine ended the stream before the answer was complete.'));
    }
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const owner = this.#owner;
    // Otherwise the connection was closed at this end, which the engine notices later.
    if (this.#abortReason === null) this.#ended = true;
    this.#owner = null;
    // Only the formal end of the HTTP body is missing: nothing may follow the end that the client has.
    if (this.isComplete) owner?.onCallEnd(this.usage());
    else owner?.onCallLost(error);
  }

  /** @returns false to pause. */
  #relay(framer: EventFramer, chunk: Buffer): boolean {
    const seen = framer.dataEvents;
    const framed = framer.push(chunk);
    if (framed.kind === 'partial') return true;
    const tokens = framer.dataEvents - seen;
    // Comments do not count: llama-server's are sent by another thread than the one that decodes.
    this.lifeCount += tokens;
    if (framed.kind === 'events') return this.#pass(framed.events, tokens);
    if (framed.before.length > 0) this.#pass(framed.before, tokens);
    const garbage = 'The engine sent something that is not a stream of events.';
    this.#fail(
      framed.kind === 'error' ? streamFailure(framed.error) : new LlameroError('engine_bad_response', garbage),
    );
    return true;
  }

  #pass(events: Buffer, tokens: number): boolean {
    if (this.#filter === null) return this.#owner?.onCallEvents(events, tokens) ?? true;
    const left = this.#filter.take(events);
    if (left.progress !== null) this.#owner?.onCallProgress(left.progress);
    if (left.decoding) {
      this.#phase = 'decode';
      this.#filter = null;
    }
    return left.events.length === 0 || (this.#owner?.onCallEvents(left.events, left.decoding ? 1 : 0) ?? true);
  }

  #collect(chunk: Buffer): void {
    this.lifeCount += 1;
    try {
      (this.#whole ??= new WholeAnswer()).add(chunk);
    } catch (error) {
      this.#fail(toLlameroError(error));
    }
  }

  #endWhole(owner: CallOwner): void {
    const body = (this.#whole ?? new WholeAnswer()).bytes();
    if (this.#status !== 200) {
      this.#fail(engineFailure(this.#status, body));
      return;
    }
    try {
      checkAnswer(body);
    } catch (error) {
      this.#fail(toLlameroError(error));
      return;
    }
    this.#owner = null;
    owner.onCallAnswer(body);
    owner.onCallEnd(tokenCountsIn(body));
  }

  /** Ends both sides: the engine need not go on with what nobody will read. */
  #fail(error: LlameroError): void {
    const owner = this.#owner;
    this.abort(error);
    owner?.onCallFailed(error);
  }

  #headers(body: Buffer | null): Record<string, string> {
    const { headers } = this.request;
    const own = this.#trace === null ? headers : { ...headers, traceparent: this.#trace.traceparent };
    const engine = this.engine.headers;
    return body === null ? { ...own, ...engine } : { 'content-type': 'application/json', ...own, ...engine };
  }
}

/** Seconds of a `Retry-After` header; its other form, a date, is used by no engine. */
function retryAfterOf(header: string | string[] | undefined): number | null {
  return typeof header === 'string' && /^\d{1,6}$/.test(header) ? Number(header) * 1000 : null;
}
