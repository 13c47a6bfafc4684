import type { LlameroError } from './errors.ts';
import type { LlameroEmitter, RequestOutcome, RequestTrace, SettledRequest, TokenCounts } from './events.ts';
import type { PipelineRequest, RequestTracing } from './exchange.ts';

/** What the exchange knows at its end, and the report does not. */
export interface Settlement {
  /** Why it did not complete. */
  readonly error: LlameroError | null;
  readonly usage: TokenCounts | null;
  readonly headSent: boolean;
  readonly generatedTokens: number;
  /** Of the time before the first sending, what was waited for a slot or an engine. */
  readonly waitedMs: number;
  readonly sends: number;
  readonly continuations: number;
}

/** Measures one request and announces it. Nothing is put together for an event that nobody listens to. */
export class ExchangeReport {
  /** Its span; null without tracing. */
  readonly trace: RequestTrace | null;
  readonly #request: PipelineRequest;
  readonly #events: LlameroEmitter;
  readonly #startedAt = performance.now();
  #model: string | null = null;
  /** 0: not sent, or had nothing yet. */
  #firstSentAt = 0;
  #sentAt = 0;
  #firstByteAt = 0;
  #firstTokenAt = 0;
  #status = 0;

  constructor(request: PipelineRequest, events: LlameroEmitter, tracing: RequestTracing | null) {
    this.#request = request;
    this.#events = events;
    this.trace = tracing === null ? null : tracing.begin(request);
    if (events.listenerCount('request') === 0) return;
    const { id, route, stream, body } = request;
    events.publish('request', { id, route: route.name, stream, bodyBytes: body?.length ?? 0 });
  }

  /** Status of the engine's answer; 0 before its first byte. */
  get status(): number {
    return this.#status;
  }

  /** Time before the request was last sent, in ms. */
  get queueMs(): number {
    return this.#sentAt - this.#startedAt;
  }

  /** From sending to the first byte, in ms. */
  get engineMs(): number {
    return this.#firstByteAt - this.#sentAt;
  }

  sent(model: string): void {
    this.#model = model;
    this.#sentAt = performance.now();
    if (this.#firstSentAt === 0) this.#firstSentAt = this.#sentAt;
  }

  firstByte(status: number): void {
    this.#firstByteAt = performance.now();
    this.#status = status;
  }

  /** The first token of a stream came; later calls change nothing. */
  token(): void {
    if (this.#firstTokenAt === 0) this.#firstTokenAt = performance.now();
  }

  /** Announces the end; once. */
  settled(settlement: Settlement): void {
    const { error, usage } = settlement;
    const totalMs = performance.now() - this.#startedAt;
    if (this.#events.listenerCount('settled') > 0) this.#events.publish('settled', this.#measures(settlement, totalMs));
    const { id, route, stream } = this.#request;
    if (error !== null) {
      this.#events.publish('error', { id, route: route.name, stream, error, totalMs });
    } else if (this.#events.listenerCount('response') > 0) {
      const firstByteMs = this.#firstByteAt - this.#startedAt;
      const { queueMs } = this;
      const answer = { id, route: route.name, stream, status: this.#status, queueMs, firstByteMs, totalMs, usage };
      this.#events.publish('response', answer);
    }
  }

  #measures(settlement: Settlement, totalMs: number): SettledRequest {
    const { error, usage, headSent, sends, continuations, generatedTokens, waitedMs } = settlement;
    const { id, route, stream } = this.#request;
    const wasSent = this.#firstSentAt !== 0;
    const hasToken = this.#firstTokenAt !== 0;
    const queueMs = wasSent ? this.#firstSentAt - this.#startedAt : totalMs;
    return {
      id,
      route: route.name,
      model: this.#model,
      stream,
      outcome: outcomeOf(error),
      status: error === null || headSent ? this.#status : error.status,
      error,
      headSent,
      queueMs,
      ownMs: queueMs - waitedMs,
      prefillMs: hasToken ? this.#firstTokenAt - this.#firstSentAt : null,
      firstTokenMs: hasToken ? this.#firstTokenAt - this.#startedAt : null,
      decodeMs: hasToken ? this.#startedAt + totalMs - this.#firstTokenAt : null,
      totalMs,
      usage,
      generatedTokens,
      retries: wasSent ? sends - 1 - continuations : 0,
      continuations,
      trace: this.trace,
    };
  }
}

function outcomeOf(error: LlameroError | null): RequestOutcome {
  if (error === null) return 'completed';
  return error.code === 'cancelled' ? 'cancelled' : 'failed';
}
