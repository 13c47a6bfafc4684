import { Approach, type ApproachOwner } from './approach.ts';
import { type CallOwner, EngineCall } from './engine-call.ts';
import type { ReadyEngine } from './engine/engine-endpoint.ts';
import { LlameroError, toLlameroError } from './errors.ts';
import type { TokenCounts } from './events.ts';
import type { ExchangeContext } from './exchange-context.ts';
import { ExchangeReport } from './exchange-report.ts';
import type { Exchange, PipelineRequest, ResponseSink } from './exchange.ts';
import { lossOf } from './lost-connection.ts';
import { bodyForEngine, limitTokens } from './openai/body-edit.ts';
import { withSeed } from './openai/continuation/replay.ts';
import { withNoticeAtCap } from './openai/budget-notice.ts';
import type { PromptProgress } from './openai/prompt-progress.ts';
import { Resending } from './resending.ts';
import { isPlannedEnd } from './resilience/blame.ts';
import type { BreakerPass } from './resilience/circuit-breaker.ts';
import { deadlineExceeded, timeLeftMs } from './resilience/deadlines.ts';
import { StreamContinuation } from './stream-continuation.ts';
import { StreamDelivery } from './stream-delivery.ts';
import { TokenAccount } from './token-account.ts';

/** Before an engine that is still loading is asked again to go on with a stream. */
const LOADING_DELAY_MS = 1000;

type Phase = 'approaching' | 'sending' | 'streaming' | 'settled';

/**
 * One request on its way: to an engine, there again or on with another if the engine is lost, and back to its caller. It is
 * the one owner of the present call and of the tokens of the request, and settles exactly once.
 */
export class RunningExchange implements Exchange, CallOwner, ApproachOwner {
  /** Its place among the requests in flight; belongs to their list. */
  listIndex = -1;
  readonly #context: ExchangeContext;
  readonly #request: PipelineRequest;
  readonly #sink: ResponseSink;
  readonly #report: ExchangeReport;
  readonly #resending: Resending;
  readonly #account: TokenAccount;
  readonly #approach: Approach;
  readonly #startedAt = performance.now();
  #phase: Phase = 'approaching';
  /** What the present engine is asked, but for what llamero asks for itself; null before the first sending, and for GET. */
  #body: Buffer | null = null;
  #continuation: StreamContinuation | null = null;
  #delivery: StreamDelivery | null = null;
  #headSent = false;
  #call: EngineCall | null = null;
  #pass: BreakerPass | null = null;
  #totalTimer: NodeJS.Timeout | undefined;

  constructor(context: ExchangeContext, request: PipelineRequest, sink: ResponseSink) {
    this.#context = context;
    this.#request = request;
    this.#sink = sink;
    this.#report = new ExchangeReport(request, context.events, context.tracing);
    this.#resending = new Resending(context, request);
    this.#approach = new Approach(context, request, sink, this.#resending, this);
    this.#account = new TokenAccount(context.queue, this.#approach);
  }

  begin(): void {
    const { timeoutMs } = this.#request;
    if (timeoutMs !== null) {
      const expire = () => this.cancel(deadlineExceeded('whole request', timeoutMs));
      this.#totalTimer = setTimeout(expire, timeoutMs);
    }
    this.#approach.begin();
  }

  timeLeftMs(): number | null {
    return timeLeftMs(this.#request.timeoutMs, this.#startedAt, performance.now());
  }

  onEngine(engine: ReadyEngine): void {
    try {
      // What needs no slot says nothing about how the engine works.
      if (this.#request.route.needsSlot) this.#pass = this.#context.breaker.enter();
    } catch (error) {
      this.#fail(toLlameroError(error));
      return;
    }
    this.#phase = 'sending';
    this.#report.sent(engine.facts.model);
    this.#resending.countSend();
    this.#call = new EngineCall(engine, this.#request, this, this.#report.trace);
    this.#context.calls.add(this.#call);
    this.#body ??= this.#firstBody();
    this.#call.send(this.#body === null ? null : bodyForEngine(this.#body, this.#request));
  }

  onDenied(error: LlameroError): void {
    this.#fail(this.#headSent ? interrupted(error, error) : error);
  }

  resume(): void {
    this.#call?.resume();
  }

  queuePosition(): number | null {
    return this.#approach.queuePosition();
  }

  cancel(reason: LlameroError = new LlameroError('cancelled', 'The caller cancelled the request.')): void {
    const call = this.#call;
    if (call === null || !call.isComplete) {
      this.#fail(reason);
      return;
    }
    // The whole answer is with the caller already: nothing may follow its end.
    call.abort(reason);
    this.onCallEnd(call.usage());
  }

  onCallHead(status: number): void {
    this.#report.firstByte(status);
  }

  onCallProgress(progress: PromptProgress): void {
    if (this.#headSent) return;
    this.#account.promptIs(progress.total, progress.cached);
    this.#continuation?.promptIs(progress.total, progress.cached);
    if (this.#phase === 'sending') this.#sink.onProgress?.(progress);
  }

  onCallEvents(events: Buffer, tokens: number): boolean {
    const left = this.#continuation === null ? events : this.#continuation.pass(events);
    if (left === null) {
      this.#fail(
        new LlameroError('stream_interrupted', 'The engine was lost, and the answer of the next one differs.'),
      );
      return true;
    }
    this.#account.generated(tokens);
    if (tokens > 0) this.#report.token();
    if (left.length === 0) return true;
    const cap = this.#approach.entry?.tokenCap ?? null;
    if (cap === null) return this.#deliver(left);
    const generated = () => this.#wholeUsage(this.#call?.usage() ?? null)?.completionTokens ?? 0;
    return this.#deliver(withNoticeAtCap(left, this.#request.route.dialect, cap, generated));
  }

  onCallAnswer(body: Buffer): void {
    if (this.#headSent) {
      this.#fail(new LlameroError('engine_bad_response', 'The engine did not go on with the stream.'));
      return;
    }
    this.#sendHead('application/json; charset=utf-8');
    this.#sink.onData(body);
  }

  onCallEnd(part: TokenCounts | null): void {
    const usage = this.#wholeUsage(part);
    if (usage !== null) this.#account.usageIs(usage);
    this.#resending.answered();
    if (this.#delivery !== null && !this.#completeDelivery(this.#delivery)) return;
    if (!this.#settle(null)) return;
    this.#sink.onEnd();
    this.#announce(null, usage);
  }

  onCallFailed(error: LlameroError): void {
    if (error.status < 500) this.#resending.answered();
    this.#sendAgainOrFail(error, null);
  }

  onCallLost(error: NodeJS.ErrnoException): void {
    void this.#onLost(error);
  }

  /** The upstream broke, or was never there. */
  async #onLost(error: NodeJS.ErrnoException): Promise<void> {
    const { engine, timeouts } = this.#context;
    const { generation } = (this.#call as EngineCall).engine;
    const loss = lossOf(error);
    if (loss === 'not-http') {
      this.#fail(new LlameroError('engine_bad_response', 'The engine answered something that is not HTTP.'));
      return;
    }
    if (loss === 'not-sent') engine.suspect(generation);
    const explanation =
      error.code === 'UND_ERR_CONNECT_TIMEOUT'
        ? deadlineExceeded('connect', timeouts.connect)
        : // Until then the call counts as one at its engine: an engine with none that is being replaced would be ended, for that cause.
          await engine.explainLoss(generation);
    if (this.#isSettled()) return;
    if (loss === 'broken') this.#resending.lostEngine(generation, explanation);
    this.#sendAgainOrFail(explanation, error);
  }

  #sendAgainOrFail(error: LlameroError, lost: NodeJS.ErrnoException | null): void {
    if (this.#headSent) {
      this.#goOnOrFail(error, lost);
      return;
    }
    const delayMs = this.#resending.delayOf({ error, lost, call: this.#call, deadlineLeftMs: this.timeLeftMs() });
    if (delayMs === null) {
      this.#fail(error);
      return;
    }
    this.#delivery?.restart();
    this.#approachAgain(error, delayMs);
  }

  /** The client has a part of the answer: another engine goes on, or the stream ends with the error. */
  #goOnOrFail(error: LlameroError, lost: NodeJS.ErrnoException | null): void {
    const isLoading = error.code === 'engine_starting';
    const isLost = lost !== null || ['engine_bad_response', 'stream_interrupted'].includes(error.code);
    const mayGoOn = (isLost || isLoading) && !this.#resending.isRefused;
    const next = mayGoOn ? (this.#continuation?.next(isPlannedEnd(error.details['cause'])) ?? null) : null;
    if (next === null) {
      // The client's own request was fine: what an engine says against going on with it would mislead.
      const isUnwilling = (this.#call?.status ?? 200) >= 400;
      this.#fail(lost === null && !isUnwilling ? error : interrupted(error, lost ?? error));
    } else if (next.kind === 'end') {
      this.#deliver(next.events);
      this.onCallEnd(null);
    } else {
      this.#resending.goesOn(error, this.#continuation?.continuations ?? 1);
      this.#body = next.body;
      this.#approachAgain(error, isLoading ? LOADING_DELAY_MS : 0);
    }
  }

  #approachAgain(error: LlameroError, delayMs: number): void {
    this.#endCall(error);
    this.#phase = 'approaching';
    this.#approach.again(delayMs);
  }

  /** @returns what the first engine is asked: a replay needs a seed, and a token limit may be shorter than what was asked for. */
  #firstBody(): Buffer | null {
    const { body, route, continuation } = this.#request;
    if (body === null) return null;
    const cap = this.#approach.entry?.tokenCap ?? null;
    const capped = cap === null ? body : limitTokens(body, route, cap);
    if (continuation === null) return capped;
    this.#delivery = StreamDelivery.of(this.#request);
    if (continuation.way === null) return capped;
    const seed = continuation.needsSeed ? randomSeed() : null;
    const seeded = seed === null ? capped : withSeed(capped, seed);
    this.#continuation = new StreamContinuation(continuation, this.#request, seeded, seed);
    return seeded;
  }

  /** Hands events to the caller, unless it wants them later. @returns false to pause. */
  #deliver(events: Buffer): boolean {
    if (this.#delivery === null) return this.#handOver(events);
    try {
      const due = this.#delivery.pass(events, this.#continuation?.continuations ?? 0);
      return due.length === 0 || this.#handOver(due);
    } catch (error) {
      this.#fail(toLlameroError(error));
      return true;
    }
  }

  /** @returns false when the answer is not what was asked for: then it is asked for again, or the request has failed. */
  #completeDelivery(delivery: StreamDelivery): boolean {
    try {
      const rest = delivery.complete();
      if (rest.length > 0) this.#handOver(rest);
      return true;
    } catch (error) {
      this.#sendAgainOrFail(toLlameroError(error), null);
      return false;
    }
  }

  #handOver(events: Buffer): boolean {
    this.#phase = 'streaming';
    this.#sendHead('text/event-stream');
    return this.#sink.onData(events);
  }

  /** @param part what the present engine tells, which may have made the end of the stream only. */
  #wholeUsage(part: TokenCounts | null): TokenCounts | null {
    return this.#continuation === null ? part : this.#continuation.usage(part);
  }

  #isSettled(): boolean {
    return this.#phase === 'settled';
  }

  #sendHead(contentType: string): void {
    if (this.#headSent) return;
    this.#headSent = true;
    const { status, queueMs, engineMs } = this.#report;
    this.#sink.onHead({ status, contentType, queueMs, engineMs });
  }

  #fail(error: LlameroError): void {
    if (!this.#settle(error)) return;
    this.#sink.onError(error);
    this.#announce(error, null);
  }

  #announce(error: LlameroError | null, usage: TokenCounts | null): void {
    this.#report.settled({
      error,
      usage,
      headSent: this.#headSent,
      generatedTokens: this.#account.generatedTokens,
      waitedMs: this.#approach.waitedMs,
      sends: this.#resending.sends,
      continuations: this.#continuation?.continuations ?? 0,
    });
  }

  #endCall(error: LlameroError | null): void {
    const call = this.#call;
    if (call !== null) this.#context.calls.remove(call);
    // How an engine ended that is gone says nothing about the next one.
    const isGone = call?.engine.generation !== this.#context.engine.current()?.generation;
    if (isGone) this.#pass?.forget();
    else this.#pass?.settle(error);
    this.#pass = null;
    this.#call = null;
  }

  /** Gives everything back. @returns false when that has been done before. */
  #settle(error: LlameroError | null): boolean {
    if (this.#phase === 'settled') return false;
    const call = this.#call;
    const isAtEngine = this.#phase === 'sending' || this.#phase === 'streaming';
    this.#phase = 'settled';
    clearTimeout(this.#totalTimer);
    this.#approach.end(error);
    // The connection is closed, which is what makes llama-server free the slot.
    if (error !== null && isAtEngine) call?.abort(error);
    this.#endCall(error);
    const isCutOff = isAtEngine && call?.isOpen === true;
    this.#account.settle(this.#approach.entry?.grant ?? null, this.#resending.wasSent, isCutOff);
    this.#approach.giveBackSlot(isCutOff ? call : null);
    this.#context.onSettled(this);
    return true;
  }
}

function interrupted({ message, details }: LlameroError, cause: Error): LlameroError {
  return new LlameroError('stream_interrupted', message, { details, cause });
}

function randomSeed(): number {
  return Math.floor(Math.random() * 2 ** 31);
}
