import type { Client } from './admission/client.ts';
import type { QueuePlace, SlotWaiter } from './admission/fair-place.ts';
import type { RateLimitState } from './admission/rate-limit-policy.ts';
import { type CallOwner, EngineCall } from './engine-call.ts';
import type { ReadyEngine } from './engine/engine-endpoint.ts';
import { type Entry, enter, guessOf, needsEntrance } from './entrance.ts';
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
import type { BreakerPass } from './resilience/circuit-breaker.ts';
import { deadlineExceeded, timeLeftMs } from './resilience/deadlines.ts';
import type { QuarantinedRequest } from './resilience/quarantine.ts';
import { StreamContinuation } from './stream-continuation.ts';
import { TokenAccount } from './token-account.ts';
import { Waiting, waitedInVain } from './waiting.ts';

type Phase =
  | 'new'
  | 'entering'
  | 'queued'
  | 'awaiting-engine'
  | 'quarantined'
  | 'sending'
  | 'resending'
  | 'streaming'
  | 'settled';

/**
 * One request on its way: through the limits and the queue to an engine, there again if the engine is lost, and back. It is
 * the one owner of the slot, the timers, the present call and the tokens of the request, and settles exactly once.
 */
export class RunningExchange implements Exchange, SlotWaiter, CallOwner, QuarantinedRequest {
  /** Its place among the requests in flight; belongs to their list. */
  listIndex = -1;
  readonly client: Client;
  readonly slots: number;
  promptTokens = 0;
  place: QueuePlace | null = null;
  readonly #context: ExchangeContext;
  readonly #request: PipelineRequest;
  readonly #sink: ResponseSink;
  readonly #report: ExchangeReport;
  readonly #resending: Resending;
  readonly #account: TokenAccount;
  readonly #waiting: Waiting;
  readonly #startedAt = performance.now();
  #phase: Phase = 'new';
  #holdsSlot = false;
  #inQuarantine = false;
  #entry: Entry | null = null;
  /** What the present engine is asked, but for what llamero asks for itself; null before the first sending, and for GET. */
  #body: Buffer | null = null;
  #continuation: StreamContinuation | null = null;
  #headSent = false;
  #call: EngineCall | null = null;
  #pass: BreakerPass | null = null;
  #totalTimer: NodeJS.Timeout | undefined;
  #resendTimer: NodeJS.Timeout | undefined;
  /** Why it was cancelled, from that moment until it is settled. */
  #cancelReason: LlameroError | null = null;

  constructor(context: ExchangeContext, request: PipelineRequest, sink: ResponseSink) {
    this.#context = context;
    this.#request = request;
    this.#sink = sink;
    this.client = request.client;
    this.slots = request.work.sequences;
    this.#report = new ExchangeReport(request, context.events);
    this.#resending = new Resending(context, request);
    this.#account = new TokenAccount(context.queue, this);
    this.#waiting = new Waiting(context.timeouts.queue, () => this.cancel(waitedInVain(context, this)));
  }

  begin(): void {
    const { memory, breaker, engine } = this.#context;
    const { timeoutMs, route } = this.#request;
    if (timeoutMs !== null) {
      const expire = () => this.cancel(deadlineExceeded('whole request', timeoutMs));
      this.#totalTimer = setTimeout(expire, timeoutMs);
    }
    try {
      const refusal = memory.refusal();
      if (refusal !== null) throw refusal;
      // While the engine is away there is nothing to protect: requests wait for the next one.
      if (route.needsSlot && engine.current() !== null) breaker.check();
      this.#resending.inspect();
      if (needsEntrance(this.#context, this.#request)) void this.#enter();
      else {
        this.promptTokens = guessOf(this.#context, this.#request);
        this.#queueUp();
      }
    } catch (error) {
      this.#fail(toLlameroError(error));
    }
  }

  onSlot(): boolean {
    if (this.#phase !== 'queued') return false;
    this.#holdsSlot = true;
    this.#toEngine();
    return true;
  }

  onRefused(error: LlameroError): void {
    this.#fail(error);
  }

  onTurn(): void {
    if (this.#phase !== 'quarantined') return;
    this.#inQuarantine = true;
    this.#toEngine();
  }

  resume(): void {
    this.#call?.resume();
  }

  queuePosition(): number | null {
    return this.#phase === 'queued' ? this.#context.queue.positionOf(this) : null;
  }

  cancel(reason: LlameroError = new LlameroError('cancelled', 'The caller cancelled the request.')): void {
    if (this.#phase === 'settled' || this.#cancelReason !== null) return;
    this.#cancelReason = reason;
    this.#fail(reason);
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
    if (left.length === 0) return true;
    this.#phase = 'streaming';
    this.#sendHead('text/event-stream');
    const cap = this.#entry?.tokenCap ?? null;
    if (cap === null) return this.#sink.onData(left);
    const generated = () => this.#call?.usage()?.completionTokens ?? 0;
    return this.#sink.onData(withNoticeAtCap(left, this.#request.route.dialect, cap, generated));
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
    const usage = this.#continuation?.usage(part) ?? part;
    if (usage !== null) this.#account.usageIs(usage);
    this.#resending.answered();
    if (!this.#settle(null)) return;
    this.#sink.onEnd();
    this.#report.completed(usage);
  }

  onCallFailed(error: LlameroError): void {
    if (error.status < 500) this.#resending.answered();
    this.#sendAgainOrFail(error, null);
  }

  onCallLost(error: NodeJS.ErrnoException): void {
    void this.#onLost(error);
  }

  async #enter(): Promise<void> {
    this.#phase = 'entering';
    try {
      const entry = await enter(this.#context, this.#request, () => this.#waiting.signal());
      if (this.#isSettled()) {
        entry.grant?.refund();
        return;
      }
      this.#entry = entry;
      this.promptTokens = entry.promptTokens;
      if (entry.grant !== null) this.#sink.onLimits?.(entry.grant.state);
      this.#queueUp();
    } catch (thrown) {
      const error = toLlameroError(thrown);
      if (this.#isSettled()) return;
      const limits = error.details['limits'] as RateLimitState | undefined;
      if (limits !== undefined) this.#sink.onLimits?.(limits);
      this.#fail(error);
    }
  }

  /** @throws LlameroError `queue_full` or `queue_timeout`. */
  #queueUp(): void {
    const { queue } = this.#context;
    this.#holdsSlot = !this.#request.route.needsSlot || queue.acquire(this, this.#waitLimitMs());
    if (this.#holdsSlot) {
      this.#toEngine();
      return;
    }
    this.#phase = 'queued';
    this.#waiting.begin();
    this.#sink.onQueued?.(queue.positionOf(this));
  }

  #waitLimitMs(): number {
    const left = timeLeftMs(this.#request.timeoutMs, this.#startedAt, performance.now());
    return Math.min(this.#context.timeouts.queue, Math.floor(left ?? Infinity));
  }

  #toEngine(): void {
    const engine = this.#context.engine.current();
    if (engine === null) void this.#awaitEngine();
    else this.#send(engine);
  }

  async #awaitEngine(): Promise<void> {
    this.#phase = 'awaiting-engine';
    try {
      const ready = await this.#context.engine.ready(this.#waiting.signal());
      if (this.#phase === 'awaiting-engine') this.#send(ready);
    } catch (thrown) {
      const error = toLlameroError(thrown);
      this.#fail(this.#headSent ? interrupted(error, error) : error);
    }
  }

  #send(engine: ReadyEngine): void {
    try {
      if (!this.#mayRunBesideOthers()) return;
      // What needs no slot says nothing about how the engine works.
      if (this.#request.route.needsSlot) this.#pass = this.#context.breaker.enter();
    } catch (error) {
      this.#fail(toLlameroError(error));
      return;
    }
    this.#waiting.end();
    this.#phase = 'sending';
    this.#report.sent();
    this.#resending.countSend();
    this.#call = new EngineCall(engine, this.#request, this);
    this.#context.calls.add(this.#call);
    this.#body ??= this.#firstBody();
    this.#call.send(this.#body === null ? null : bodyForEngine(this.#body, this.#request));
  }

  /**
   * Suspects run one at a time; one may have become known as such while it waited.
   * @returns false when it has to wait for its turn.
   * @throws LlameroError `poisonous_request`.
   */
  #mayRunBesideOthers(): boolean {
    this.#resending.inspect();
    if (!this.#resending.isSuspect || this.#inQuarantine) return true;
    this.#inQuarantine = true;
    if (this.#context.quarantine.enter(this)) return true;
    this.#phase = 'quarantined';
    this.#waiting.begin();
    return false;
  }

  /** The upstream broke, or was never there. */
  async #onLost(error: NodeJS.ErrnoException): Promise<void> {
    const { engine, calls, timeouts } = this.#context;
    const call = this.#call as EngineCall;
    const { generation } = call.engine;
    calls.remove(call);
    const loss = lossOf(error);
    if (loss === 'not-http') {
      this.#fail(new LlameroError('engine_bad_response', 'The engine answered something that is not HTTP.'));
      return;
    }
    if (loss === 'not-sent') engine.suspect(generation);
    const explanation =
      error.code === 'UND_ERR_CONNECT_TIMEOUT'
        ? deadlineExceeded('connect', timeouts.connect)
        : await engine.explainLoss(generation);
    if (this.#isSettled()) return;
    if (loss === 'broken') this.#resending.lostEngine(generation, explanation);
    this.#sendAgainOrFail(explanation, error);
  }

  #sendAgainOrFail(error: LlameroError, lost: NodeJS.ErrnoException | null): void {
    if (this.#headSent) {
      this.#goOnOrFail(error, lost);
      return;
    }
    const left = timeLeftMs(this.#request.timeoutMs, this.#startedAt, performance.now());
    const delayMs = this.#resending.delayOf({ error, lost, call: this.#call, deadlineLeftMs: left });
    if (delayMs === null) {
      this.#fail(error);
      return;
    }
    this.#endCall(error);
    this.#phase = 'resending';
    if (delayMs === 0) this.#toEngine();
    else this.#resendTimer = setTimeout(() => this.#toEngine(), delayMs);
  }

  /** The client has a part of the answer: another engine goes on, or the stream ends with the error. */
  #goOnOrFail(error: LlameroError, lost: NodeJS.ErrnoException | null): void {
    const isLost = lost !== null || error.code === 'engine_bad_response' || error.code === 'stream_interrupted';
    const next = isLost && !this.#resending.isRefused ? (this.#continuation?.next() ?? null) : null;
    if (next === null) {
      this.#fail(lost === null ? error : interrupted(error, lost));
    } else if (next.kind === 'end') {
      this.#sink.onData(next.events);
      this.onCallEnd(null);
    } else {
      this.#endCall(error);
      this.#resending.goesOn(error, this.#continuation?.continuations ?? 1);
      this.#body = next.body;
      this.#phase = 'resending';
      this.#toEngine();
    }
  }

  /** @returns what the first engine is asked: a replay needs a seed, and a token limit may be shorter than what was asked for. */
  #firstBody(): Buffer | null {
    const { body, route, continuation } = this.#request;
    if (body === null) return null;
    const cap = this.#entry?.tokenCap ?? null;
    const capped = cap === null ? body : limitTokens(body, route, cap);
    if (continuation === null) return capped;
    const seeded = continuation.needsSeed ? withSeed(capped, randomSeed()) : capped;
    this.#continuation = new StreamContinuation(continuation, this.#request, seeded);
    return seeded;
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
    this.#report.failed(error);
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
    const isAwaiting = this.#phase === 'entering' || this.#phase === 'awaiting-engine';
    this.#phase = 'settled';
    clearTimeout(this.#totalTimer);
    clearTimeout(this.#resendTimer);
    if (isAwaiting) this.#waiting.abort(error);
    else this.#waiting.end();
    // The connection is closed, which is what makes llama-server free the slot.
    if (error !== null && isAtEngine) call?.abort(error);
    this.#endCall(error);
    if (this.#inQuarantine) this.#context.quarantine.leave(this);
    const isCutOff = isAtEngine && call?.isOpen === true;
    this.#account.settle(this.#entry?.grant ?? null, this.#resending.wasSent, isCutOff);
    if (this.#request.route.needsSlot) this.#giveBackSlot(isCutOff ? call : null);
    this.#context.onSettled(this);
    return true;
  }

  /** @param call the one that the engine may still be at work on. */
  #giveBackSlot(call: EngineCall | null): void {
    const { queue, reclaimer, engine } = this.#context;
    if (!this.#holdsSlot) queue.leave(this);
    // Cancelled, or given up, while the engine works on it: that goes on for a while.
    else if (call !== null && call.engine.generation === engine.current()?.generation) {
      reclaimer.hold(this, call.engine.generation, this.#request.stream);
    } else queue.release(this);
    this.#holdsSlot = false;
  }
}

function interrupted({ message, details }: LlameroError, cause: Error): LlameroError {
  return new LlameroError('stream_interrupted', message, { details, cause });
}

function randomSeed(): number {
  return Math.floor(Math.random() * 2 ** 31);
}
