import type { Dispatcher } from 'undici';
import type { SlotGate, SlotWaiter } from './admission/slot-gate.ts';
import type { Config } from './config.ts';
import type { EngineEndpoint, ReadyEngine } from './engine/engine-endpoint.ts';
import { LlameroError, toLlameroError } from './errors.ts';
import type { LlameroEmitter, TokenCounts } from './events.ts';
import type { Exchange, PipelineRequest, ResponseSink } from './exchange.ts';
import { engineFailure, parseAnswer, streamFailure } from './openai/engine-answer.ts';
import { EventFramer } from './openai/event-framer.ts';
import { tokenCountsOf } from './openai/usage.ts';
import type { SlotReclaimer } from './slot-reclaimer.ts';

/** Largest whole answer that is held: embeddings of a large batch stay far below. */
const MAX_ANSWER_BYTES = 128 * 1024 * 1024;
/** Sends of one request, the first included, while nobody is there to take it. */
const MAX_SENDS = 4;
/** Sends of one request, the first included, when the engine was lost before it answered. */
const MAX_SENDS_AFTER_LOSS = 2;
/** undici and system codes that mean: the request was not sent, since nobody was there to take it. */
const NOT_CONNECTED = new Set([
  'ECONNREFUSED',
  'ENOENT',
  'ENOTSOCK',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_DESTROYED',
  'UND_ERR_CLOSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

export interface RunningExchangeOptions {
  readonly request: PipelineRequest;
  readonly sink: ResponseSink;
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
  readonly #options: RunningExchangeOptions;
  readonly #startedAt = performance.now();
  #place: 'new' | 'queued' | 'awaiting-engine' | 'sending' | 'streaming' | 'settled' = 'new';
  #holdsSlot = false;
  #engine: ReadyEngine | null = null;
  #controller: Dispatcher.DispatchController | null = null;
  #sends = 0;
  #sentAt = 0;
  #firstByteAt = 0;
  #status = 0;
  #framer: EventFramer | null = null;
  #parts: Buffer[] = [];
  #partsBytes = 0;
  #waitTimer: NodeJS.Timeout | undefined;
  #totalTimer: NodeJS.Timeout | undefined;
  #waiting: AbortController | null = null;
  /** Why it was cancelled, from that moment until it is settled. */
  #cancelReason: LlameroError | null = null;

  constructor(options: RunningExchangeOptions) {
    this.#options = options;
  }

  begin(): void {
    const { request, events, gate, timeouts } = this.#options;
    if (events.listenerCount('request') > 0) {
      const { id, route, stream, body } = request;
      events.publish('request', { id, route: route.name, stream, bodyBytes: body?.length ?? 0 });
    }
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
    const ready = this.#holdsSlot && this.#options.engine.current() !== null;
    if (!ready) this.#waitTimer = setTimeout(() => this.#giveUpWaiting(), timeouts.queue);
    if (this.#holdsSlot) this.#toEngine();
    else this.#place = 'queued';
  }

  onSlot(): void {
    this.#holdsSlot = true;
    this.#toEngine();
  }

  resume(): void {
    this.#controller?.resume();
  }

  cancel(reason: LlameroError = new LlameroError('cancelled', 'The caller cancelled the request.')): void {
    if (this.#place === 'settled' || this.#cancelReason !== null) return;
    this.#cancelReason = reason;
    // The connection is closed, which is what makes llama-server free the slot.
    this.#controller?.abort(reason);
    this.#fail(reason);
  }

  #giveUpWaiting(): void {
    const { engine, timeouts } = this.#options;
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
    const engine = this.#options.engine.current();
    if (engine !== null) {
      this.#send(engine);
      return;
    }
    void this.#awaitEngine();
  }

  async #awaitEngine(): Promise<void> {
    this.#place = 'awaiting-engine';
    this.#waiting ??= new AbortController();
    try {
      const ready = await this.#options.engine.ready(this.#waiting.signal);
      if (this.#place === 'awaiting-engine') this.#send(ready);
    } catch (error) {
      this.#fail(toLlameroError(error));
    }
  }

  #send(engine: ReadyEngine): void {
    const { request, timeouts } = this.#options;
    clearTimeout(this.#waitTimer);
    this.#place = 'sending';
    this.#engine = engine;
    this.#sends += 1;
    this.#sentAt = performance.now();
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
    const { request } = this.#options;
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
    if (this.#place !== 'sending' || status < 200) return;
    this.#firstByteAt = performance.now();
    this.#status = status;
    const contentType = String(headers['content-type'] ?? '');
    if (status === 200 && this.#options.request.stream && contentType.startsWith('text/event-stream')) {
      this.#framer = new EventFramer();
      this.#place = 'streaming';
      this.#sendHead(contentType);
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#place === 'streaming') this.#relay(controller, chunk);
    else if (this.#place === 'sending') this.#collect(chunk);
  }

  onResponseEnd(): void {
    if (this.#place === 'streaming') this.#endStream();
    else if (this.#place === 'sending') this.#endWhole();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#place === 'settled') return;
    void this.#onBroken(error);
  }

  #relay(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const framed = (this.#framer as EventFramer).push(chunk);
    switch (framed.kind) {
      case 'events':
        if (!this.#options.sink.onData(framed.events)) controller.pause();
        break;
      case 'partial':
        break;
      case 'error':
        if (framed.before.length > 0) this.#options.sink.onData(framed.before);
        this.#abandon(streamFailure(framed.error));
        break;
      case 'garbage':
        if (framed.before.length > 0) this.#options.sink.onData(framed.before);
        this.#abandon(
          new LlameroError('engine_bad_response', 'The engine sent something that is not a stream of events.'),
        );
        break;
    }
  }

  #collect(chunk: Buffer): void {
    this.#partsBytes += chunk.length;
    if (this.#partsBytes > MAX_ANSWER_BYTES) {
      this.#abandon(
        new LlameroError('engine_bad_response', `The engine answered more than ${MAX_ANSWER_BYTES} bytes.`),
      );
      return;
    }
    this.#parts.push(chunk);
  }

  #endStream(): void {
    const framer = this.#framer as EventFramer;
    if (!framer.isComplete(this.#options.request.route.dialect)) {
      this.#fail(new LlameroError('stream_interrupted', 'The engine ended the stream before the answer was complete.'));
      return;
    }
    let usage: TokenCounts | null = null;
    for (const data of framer.finalData()) usage ??= tokenCountsOf(data);
    this.#complete(usage);
  }

  #endWhole(): void {
    const body = this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts, this.#partsBytes);
    if (this.#status !== 200) {
      this.#fail(engineFailure(this.#status, body));
      return;
    }
    let answer: unknown;
    try {
      answer = parseAnswer(body);
    } catch (error) {
      this.#fail(toLlameroError(error));
      return;
    }
    this.#sendHead('application/json; charset=utf-8');
    this.#options.sink.onData(body);
    this.#complete(
      typeof answer === 'object' && answer !== null && !Array.isArray(answer)
        ? tokenCountsOf(answer as Record<string, unknown>)
        : null,
    );
  }

  /** The upstream broke, or was never there. */
  async #onBroken(error: NodeJS.ErrnoException): Promise<void> {
    const { engine } = this.#options;
    const { generation } = this.#engine as ReadyEngine;
    const code = error.code ?? '';
    if (code === 'UND_ERR_BODY_TIMEOUT') {
      this.#fail(deadline('idle', this.#options.timeouts.idle));
      return;
    }
    if (code.startsWith('HPE_')) {
      this.#fail(
        new LlameroError('engine_bad_response', 'The engine answered something that is not HTTP.', { cause: error }),
      );
      return;
    }
    const notSent = NOT_CONNECTED.has(code);
    if (notSent) engine.suspect(generation);
    const loss = await engine.explainLoss(generation);
    if (this.#isSettled()) return;
    // Nothing of an answer has been seen, so it may be sent again; but a request whose engine died of it only once more.
    const sends = notSent ? MAX_SENDS : MAX_SENDS_AFTER_LOSS;
    if (this.#place === 'sending' && this.#firstByteAt === 0 && this.#sends < sends) {
      this.#controller = null;
      this.#waitTimer = setTimeout(() => this.#giveUpWaiting(), this.#options.timeouts.queue);
      this.#toEngine();
      return;
    }
    const { message, details } = loss;
    this.#fail(
      this.#place === 'streaming' ? new LlameroError('stream_interrupted', message, { details, cause: error }) : loss,
    );
  }

  #isSettled(): boolean {
    return this.#place === 'settled';
  }

  /** Ends both sides: the engine need not go on with what nobody will read. */
  #abandon(error: LlameroError): void {
    this.#cancelReason = error;
    this.#controller?.abort(error);
    this.#fail(error);
  }

  #sendHead(contentType: string): void {
    this.#options.sink.onHead({
      status: this.#status,
      contentType,
      queueMs: this.#sentAt - this.#startedAt,
      engineMs: this.#firstByteAt - this.#sentAt,
    });
  }

  #complete(usage: TokenCounts | null): void {
    if (!this.#settle()) return;
    const { request, sink, events } = this.#options;
    sink.onEnd({ usage });
    if (events.listenerCount('response') === 0) return;
    events.publish('response', {
      id: request.id,
      route: request.route.name,
      stream: request.stream,
      status: this.#status,
      queueMs: this.#sentAt - this.#startedAt,
      firstByteMs: this.#firstByteAt - this.#startedAt,
      totalMs: performance.now() - this.#startedAt,
      usage,
    });
  }

  #fail(error: LlameroError): void {
    if (!this.#settle()) return;
    const { request, sink, events } = this.#options;
    sink.onError(error);
    const totalMs = performance.now() - this.#startedAt;
    events.publish('error', { id: request.id, route: request.route.name, stream: request.stream, error, totalMs });
  }

  /** Gives everything back. @returns false when that has been done before. */
  #settle(): boolean {
    if (this.#place === 'settled') return false;
    const { onSettled, request } = this.#options;
    const wasWaiting = this.#place === 'awaiting-engine';
    const wasSending = this.#place === 'sending';
    this.#place = 'settled';
    clearTimeout(this.#waitTimer);
    clearTimeout(this.#totalTimer);
    if (wasWaiting) this.#waiting?.abort(this.#cancelReason ?? new LlameroError('cancelled', 'No longer wanted.'));
    this.#parts = [];
    if (request.route.needsSlot) this.#giveBackSlot(wasSending);
    onSettled(this);
    return true;
  }

  #giveBackSlot(wasSending: boolean): void {
    const { gate, reclaimer, engine } = this.#options;
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
