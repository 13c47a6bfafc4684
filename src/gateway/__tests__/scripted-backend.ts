import type { Exchange, PipelineRequest, ResponseSink } from '../../core/exchange.ts';
import { LlameroError } from '../../core/errors.ts';
import type { GatewayBackend } from '../backend.ts';

/** One request as the backend saw it, in the hand of the test. */
export class SeenExchange implements Exchange {
  readonly request: PipelineRequest;
  readonly sink: ResponseSink;
  resumes = 0;
  cancelledWith: LlameroError | undefined;
  readonly #onCancel = Promise.withResolvers<LlameroError>();
  readonly #onResume: (() => void)[] = [];
  #ended = false;

  constructor(request: PipelineRequest, sink: ResponseSink) {
    this.request = request;
    this.sink = sink;
  }

  queuePosition(): null {
    return null;
  }

  /** Resolves when the gateway cancelled this exchange. */
  get cancelled(): Promise<LlameroError> {
    return this.#onCancel.promise;
  }

  /** Resolves at the next resume. */
  resumed(): Promise<void> {
    return new Promise((resolve) => this.#onResume.push(resolve));
  }

  resume(): void {
    this.resumes += 1;
    for (const resolve of this.#onResume.splice(0)) resolve();
  }

  cancel(reason: LlameroError = new LlameroError('cancelled', 'The caller cancelled the request.')): void {
    if (this.#ended) return;
    this.cancelledWith = reason;
    this.#onCancel.resolve(reason);
    this.fail(reason);
  }

  head(contentType = this.request.stream ? 'text/event-stream' : 'application/json; charset=utf-8'): void {
    this.sink.onHead({ status: 200, contentType, queueMs: 1.25, engineMs: 2 });
  }

  event(text: string): boolean {
    return this.sink.onData(Buffer.from(`data: ${text}\n\n`));
  }

  end(): void {
    this.#ended = true;
    this.sink.onEnd();
  }

  fail(error: LlameroError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.sink.onError(error);
  }

  /** A whole answer that is no stream. */
  answer(body: string): void {
    this.head();
    this.sink.onData(Buffer.from(body));
    this.end();
  }
}

/** A backend in this process: what cannot be seen or provoked through a real engine. */
export class ScriptedBackend implements GatewayBackend {
  state = 'ready';
  readonly seen: SeenExchange[] = [];
  readonly #script: (exchange: SeenExchange) => void;
  readonly #waiting: ((exchange: SeenExchange) => void)[] = [];

  /** @param script What to do with each request; default: answer with the request body. */
  constructor(script: (exchange: SeenExchange) => void = echo) {
    this.#script = script;
  }

  exchange(request: PipelineRequest, sink: ResponseSink): Exchange {
    const exchange = new SeenExchange(request, sink);
    this.seen.push(exchange);
    this.#waiting.shift()?.(exchange);
    this.#script(exchange);
    return exchange;
  }

  status(): { state: string; model: string } {
    return { state: this.state, model: 'scripted' };
  }

  /** The next request that comes. */
  next(): Promise<SeenExchange> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

/** Answers with the request's own body; a list of two models for GET. */
export function echo(exchange: SeenExchange): void {
  const { body, route } = exchange.request;
  if (body !== null) exchange.answer(body.toString('latin1'));
  else if (route.path === '/v1/models') exchange.answer('{"object":"list","data":[{"id":"a/b:Q4"},{"id":"tiny"}]}');
  else exchange.answer('{}');
}

/** Takes a request and leaves the rest to the test. */
export function hold(): void {}
