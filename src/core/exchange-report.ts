import type { LlameroError } from './errors.ts';
import type { LlameroEmitter, TokenCounts } from './events.ts';
import type { PipelineRequest } from './exchange.ts';

/** Measures one request and announces it. Nothing is put together for an event that nobody listens to. */
export class ExchangeReport {
  readonly #request: PipelineRequest;
  readonly #events: LlameroEmitter;
  readonly #startedAt = performance.now();
  #sentAt = 0;
  #firstByteAt = 0;
  #status = 0;

  constructor(request: PipelineRequest, events: LlameroEmitter) {
    this.#request = request;
    this.#events = events;
    if (events.listenerCount('request') === 0) return;
    const { id, route, stream, body } = request;
    events.publish('request', { id, route: route.name, stream, bodyBytes: body?.length ?? 0 });
  }

  /** Status of the engine's answer; 0 before its first byte. */
  get status(): number {
    return this.#status;
  }

  /** Time before the request was sent, in ms. */
  get queueMs(): number {
    return this.#sentAt - this.#startedAt;
  }

  /** From sending to the first byte, in ms. */
  get engineMs(): number {
    return this.#firstByteAt - this.#sentAt;
  }

  sent(): void {
    this.#sentAt = performance.now();
  }

  firstByte(status: number): void {
    this.#firstByteAt = performance.now();
    this.#status = status;
  }

  completed(usage: TokenCounts | null): void {
    if (this.#events.listenerCount('response') === 0) return;
    const { id, route, stream } = this.#request;
    this.#events.publish('response', {
      id,
      route: route.name,
      stream,
      status: this.#status,
      queueMs: this.queueMs,
      firstByteMs: this.#firstByteAt - this.#startedAt,
      totalMs: performance.now() - this.#startedAt,
      usage,
    });
  }

  failed(error: LlameroError): void {
    const { id, route, stream } = this.#request;
    this.#events.publish('error', {
      id,
      route: route.name,
      stream,
      error,
      totalMs: performance.now() - this.#startedAt,
    });
  }
}
