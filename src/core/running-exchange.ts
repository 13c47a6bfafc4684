import type { Dispatcher } from 'undici';
import type { SlotGate, SlotWaiter } from './admission/slot-gate.ts';
import type { Config } from './config.ts';
import type { EngineEndpoint, ReadyEngine } from './engine/engine-endpoint.ts';
import { LlameroError, toLlameroError } from './errors.ts';
import type { LlameroEmitter, TokenCounts } from './events.ts';
import type { Exchange, PipelineRequest, ResponseSink } from './exchange.ts';
import { checkAnswer, engineFailure, parseAnswer, streamFailure } from './openai/engine-answer.ts';
import { ExchangeReport } from './exchange-report.ts';
import { lossOf } from './lost-connection.ts';
import { EventFramer } from './openai/event-framer.ts';
import { tokenCountsOf } from './openai/usage.ts';
import type { SlotReclaimer } from './slot-reclaimer.ts';
import { WholeAnswer } from './whole-answer.ts';

/** Sends of one request, the first included, while nobody is there to take it. */
const MAX_SENDS = 4;
/** Sends of one request, the first included, when the engine was lost before it answered. */
const MAX_SENDS_AFTER_LOSS = 2;
/** What all exchanges of one pipeline share. */
export interface ExchangeContext {
  readonly engine: EngineEndpoint;
  readonly gate: SlotGate;
  readonly reclaimer: SlotReclaimer;
  readonly timeouts: Config['timeouts'];
  readonly events: LlameroEmitter;
  readonly onSettled: (exchange: RunningExchange) => void;
}

/**
 * One request on its way. It is the one owner of the slot, the timers and the upstream connection of the request, is the
 * handler that undici calls, and settles exactly once.
 */
export class RunningExchange implements Exchange, SlotWaiter, Dispatcher.DispatchHandler {
  /** Its place among the requests in flight; belongs to `RunningExchanges`. */
  place = 0;
  readonly #context: ExchangeContext;
  readonly #request: PipelineRequest;
  readonly #sink: ResponseSink;
  readonly #report: ExchangeReport;
  #phase: 'new' | 'queued' | 'awaiting-engine' | 'sending' | 'streaming' | 'settled' = 'new';
  #holdsSlot = false;
  #engine: ReadyEngine | null = null;
  #controller: Dispatcher.DispatchController | null = null;
  #sends = 0;
  #framer: EventFramer | null = null;
  #whole: WholeAnswer | null = null;
  #waitTimer: NodeJS.Timeout | undefined;
  #totalTimer: NodeJS.Timeout | undefined;
  #waiting: AbortController | null = null;
  /** Why it was cancelled, from that moment until it is settled. */
  #cancelReason: LlameroError | null = null;

  constructor(context: ExchangeContext, request: PipelineRequest, sink: ResponseSink) {
    this.#context = context;
    this.#request = request;
    this.#sink = sink;
    this.#report = new ExchangeReport(request, context.events);
  }

  begin(): void {
    const request = this.#request;
    const { gate, timeouts } = this.#context;
    if (request.timeoutMs !== null) {
      this.#totalTimer = setTimeout(
        () => this.cancel(deadline('whole request', request.timeoutMs ?? 0)),
        request.timeoutMs,
      );
    }
    try {
      this.#holdsSlot = !request.route.needsSlot || gate.acquire(this);
    } catch (error) {
      this.#fail(toLlameroError(error));
      return;
    }
    const ready = this.#holdsSlot && this.#context.engine.current() !== null;
    if (!ready) this.#waitTimer = setTimeout(() => this.#giveUpWaiting(), timeouts.queue);
    if (this.#holdsSlot) this.#toEngine();
    else this.#phase = 'queued';
  }

  onSlot(): void {
    this.#holdsSlot = true;
    this.#toEngine();
  }

  resume(): void {
    this.#controller?.resume();
  }

  cancel(reason: LlameroError = new LlameroError('cancelled', 'The caller cancelled the request.')): void {
    if (this.#phase === 'settled' || this.#cancelReason !== null) return;
    this.#cancelReason = reason;
    // The connection is closed, which is what makes llama-server free the slot.
    this.#controller?.abort(reason);
    this.#fail(reason);
  }

  #giveUpWaiting(): void {
    const { engine, timeouts } = this.#context;
    const waitedMs = timeouts.queue;
    const { state, cause } = engine.status();
    const error =
      engine.current() === null
        ? new LlameroError(
            'engine_starting',
            `The engine was not ready within ${waitedMs} ms${cause === null ? '' : `: ${cause.message}`}`,
            {
              retryAfterMs: 1000,
              details: { state, cause: cause?.name },
            },
          )
        : new LlameroError('queue_timeout', `No slot became free within ${waitedMs} ms.`, { retryAfterMs: 1000 });
    this.cancel(error);
  }

  #toEngine(): void {
    const engine = this.#context.engine.current();
    if (engine !== null) {
      this.#send(engine);
      return;
    }
    void this.#awaitEngine();
  }

  async #awaitEngine(): Promise<void> {
    this.#phase = 'awaiting-engine';
    this.#waiting ??= new AbortController();
    try {
      const ready = await this.#context.engine.ready(this.#waiting.signal);
      if (this.#phase === 'awaiting-engine') this.#send(ready);
    } catch (error) {
      this.#fail(toLlameroError(error));
    }
  }

  #send(engine: ReadyEngine): void {
    const request = this.#request;
    const { timeouts } = this.#context;
    clearTimeout(this.#waitTimer);
    this.#phase = 'sending';
    this.#engine = engine;
    this.#sends += 1;
    this.#report.sent();
    engine.dispatcher.dispatch(
      {
        path: request.route.path + request.query,
        method: request.route.method,
        headers: this.#headersFor(engine),
        body: request.body,
        headersTimeout: 0,
        bodyTimeout: request.stream ? timeouts.idle : 0,
      },
      this,
    );
  }

  #headersFor(engine: ReadyEngine): Record<string, string> {
    const request = this.#request;
    return request.body === null
      ? { ...request.headers, ...engine.headers }
      : { 'content-type': 'application/json', ...request.headers, ...engine.headers };
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // Cancelled while undici was still connecting: this is the first moment at which it can be told.
    if (this.#cancelReason !== null) controller.abort(this.#cancelReason);
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (this.#phase !== 'sending' || status < 200) return;
    this.#report.firstByte(status);
    const contentType = String(headers['content-type'] ?? '');
    if (status === 200 && this.#request.stream && contentType.startsWith('text/event-stream')) {
      this.#framer = new EventFramer();
      this.#phase = 'streaming';
      this.#sendHead(contentType);
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#phase === 'streaming') this.#relay(controller, chunk);
    else if (this.#phase === 'sending') this.#collect(chunk);
  }

  onResponseEnd(): void {
    if (this.#phase === 'streaming') this.#endStream();
    else if (this.#phase === 'sending') this.#endWhole();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#phase === 'settled') return;
    void this.#onBroken(error);
  }

  #relay(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const framed = (this.#framer as EventFramer).push(chunk);
    switch (framed.kind) {
      case 'events':
        if (!this.#sink.onData(framed.events)) controller.pause();
        break;
      case 'partial':
        break;
      case 'error':
        if (framed.before.length > 0) this.#sink.onData(framed.before);
        this.#abandon(streamFailure(framed.error));
        break;
      case 'garbage':
        if (framed.before.length > 0) this.#sink.onData(framed.before);
        this.#abandon(
          new LlameroError('engine_bad_response', 'The engine sent something that is not a stream of events.'),
        );
        break;
    }
  }

  #collect(chunk: Buffer): void {
    try {
      (this.#whole ??= new WholeAnswer()).add(chunk);
    } catch (error) {
      this.#abandon(toLlameroError(error));
    }
  }

  #endStream(): void {
    const framer = this.#framer as EventFramer;
    if (!framer.isComplete(this.#request.route.dialect)) {
      this.#fail(new LlameroError('stream_interrupted', 'The engine ended the stream before the answer was complete.'));
      return;
    }
    this.#complete(() => {
      for (const data of framer.finalData()) {
        const usage = tokenCountsOf(data);
        if (usage !== null) return usage;
      }
      return null;
    });
  }

  #endWhole(): void {
    const body = (this.#whole ?? new WholeAnswer()).bytes();
    if (this.#report.status !== 200) {
      this.#fail(engineFailure(this.#report.status, body));
      return;
    }
    try {
      checkAnswer(body);
    } catch (error) {
      this.#fail(toLlameroError(error));
      return;
    }
    this.#sendHead('application/json; charset=utf-8');
    this.#sink.onData(body);
    this.#complete(() => tokenCountsOf(parseAnswer(body)));
  }

  /** The upstream broke, or was never there. */
  async #onBroken(error: NodeJS.ErrnoException): Promise<void> {
    const { engine, timeouts } = this.#context;
    const { generation } = this.#engine as ReadyEngine;
    const loss = lossOf(error);
    if (loss === 'silent') return this.#fail(deadline('silence of the engine', timeouts.idle));
    if (loss === 'not-http')
      return this.#fail(new LlameroError('engine_bad_response', 'The engine answered something that is not HTTP.'));
    if (loss === 'not-sent') engine.suspect(generation);
    const explanation = await engine.explainLoss(generation);
    if (this.#isSettled()) return undefined;
    // Nothing of an answer has been seen, so it may be sent again; but a request whose engine died of it only once more.
    const sends = loss === 'not-sent' ? MAX_SENDS : MAX_SENDS_AFTER_LOSS;
    if (this.#phase === 'sending' && this.#report.status === 0 && this.#sends < sends) return this.#sendAgain();
    const { message, details } = explanation;
    return this.#fail(
      this.#phase === 'streaming'
        ? new LlameroError('stream_interrupted', message, { details, cause: error })
        : explanation,
    );
  }

  #sendAgain(): void {
    this.#controller = null;
    this.#waitTimer = setTimeout(() => this.#giveUpWaiting(), this.#context.timeouts.queue);
    this.#toEngine();
  }

  #isSettled(): boolean {
    return this.#phase === 'settled';
  }

  /** Ends both sides: the engine need not go on with what nobody will read. */
  #abandon(error: LlameroError): void {
    this.#cancelReason = error;
    this.#controller?.abort(error);
    this.#fail(error);
  }

  #sendHead(contentType: string): void {
    const { status, queueMs, engineMs } = this.#report;
    this.#sink.onHead({ status, contentType, queueMs, engineMs });
  }

  #complete(usage: () => TokenCounts | null): void {
    if (!this.#settle()) return;
    this.#sink.onEnd();
    this.#report.completed(usage);
  }

  #fail(error: LlameroError): void {
    if (!this.#settle()) return;
    this.#sink.onError(error);
    this.#report.failed(error);
  }

  /** Gives everything back. @returns false when that has been done before. */
  #settle(): boolean {
    if (this.#phase === 'settled') return false;
    const wasWaiting = this.#phase === 'awaiting-engine';
    const wasSending = this.#phase === 'sending';
    this.#phase = 'settled';
    clearTimeout(this.#waitTimer);
    clearTimeout(this.#totalTimer);
    if (wasWaiting) this.#waiting?.abort(this.#cancelReason ?? new LlameroError('cancelled', 'No longer wanted.'));
    this.#whole = null;
    if (this.#request.route.needsSlot) this.#giveBackSlot(wasSending);
    this.#context.onSettled(this);
    return true;
  }

  #giveBackSlot(wasSending: boolean): void {
    const { gate, reclaimer, engine } = this.#context;
    const generation = this.#engine?.generation;
    if (!this.#holdsSlot) gate.leave(this);
    // Cancelled before the first byte of the answer: the engine goes on for a while.
    else if (
      wasSending &&
      this.#cancelReason !== null &&
      generation !== undefined &&
      generation === engine.current()?.generation
    ) {
      reclaimer.hold(generation);
    } else gate.release();
    this.#holdsSlot = false;
  }
}

function deadline(phase: string, limitMs: number): LlameroError {
  return new LlameroError('deadline_exceeded', `The ${phase} took longer than ${limitMs} ms.`, {
    details: { phase, limitMs },
  });
}
