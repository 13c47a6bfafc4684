import { context, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace, type Tracer } from '@opentelemetry/api';
import { isSpanContextValid, type TracerProvider } from '@opentelemetry/api';
import type { LlameroEmitter, RequestTrace, SettledRequest } from '../core/events.ts';
import { IndexedList } from '../core/indexed-list.ts';
import {
  beginningOf,
  continuationAttributes,
  failureOf,
  phasesOf,
  requestAttributes,
  retryAttributes,
  settledAttributes,
  settledName,
  type SpanBeginning,
  type TracedRoute,
  type TracedSide,
} from './tracing-attributes.ts';
import { parentContext, traceparentOf } from './tracing-context.ts';

/** A request, as far as its span tells of it. */
export interface TracedRequest {
  readonly id: string;
  readonly route: TracedRoute;
  readonly stream: boolean;
  readonly work: { readonly maxTokens: number | null };
  /** `traceparent` and `tracestate` of its caller; well-formed where they are there. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Options of {@link requestTracing}. */
export interface RequestTracingOptions {
  /** Where spans come from. Default: the provider that the program has registered with `@opentelemetry/api`. */
  readonly tracerProvider?: TracerProvider;
  /**
   * `client` (default): spans of kind CLIENT, named `chat MODEL`, for programs that call the library. `server`: spans of kind
   * SERVER, named `POST /v1/chat/completions`, for gateways.
   */
  readonly side?: TracedSide;
  /** Version of llamero, for the instrumentation scope. */
  readonly version?: string;
}

/**
 * Makes each request of a provider a span: `new LlamaCppProvider(options, { tracing: requestTracing() })`. Its parent is the active
 * span of the program, else the `traceparent` of the request. Loads `@opentelemetry/api`, and nothing else.
 */
export function requestTracing(options: RequestTracingOptions = {}): RequestSpans {
  const { tracerProvider = trace.getTracerProvider(), side = 'client', version } = options;
  return new RequestSpans(tracerProvider.getTracer('llamero', version), side);
}

/** The spans of requests in flight. */
export class RequestSpans {
  readonly #tracer: Tracer;
  readonly #side: TracedSide;
  /** By name of the route, of which there are few. */
  readonly #beginnings = new Map<string, SpanBeginning>();
  /** Those that are recorded. */
  readonly #open = new IndexedList<RequestSpan>();

  constructor(tracer: Tracer, side: TracedSide) {
    this.#tracer = tracer;
    this.#side = side;
  }

  /** Begins the span of a request. @returns null where no provider of spans is registered. */
  begin(request: TracedRequest): RequestTrace | null {
    const { name, attributes } = this.#beginning(request.route);
    const startedAt = Date.now();
    const span = this.#tracer.startSpan(
      name,
      { kind: this.#side === 'server' ? SpanKind.SERVER : SpanKind.CLIENT, attributes, startTime: startedAt },
      parentContext(context.active(), request.headers),
    );
    if (!isSpanContextValid(span.spanContext())) return null;
    const requestSpan = new RequestSpan(request.id, span, startedAt);
    if (span.isRecording()) {
      span.setAttributes(requestAttributes(request.id, request.stream, request.work.maxTokens));
      this.#open.add(requestSpan);
    }
    return requestSpan;
  }

  /** Ends spans as the requests of these events settle, and tells in them what happened on the way. */
  observe(events: LlameroEmitter): void {
    events.on('settled', (request) => {
      if (request.trace instanceof RequestSpan) this.#end(request.trace, request);
    });
    events.on('retry', (retry) => this.#find(retry.id)?.addEvent('retry', retryAttributes(retry)));
    events.on('stream-continued', (continued) => {
      this.#find(continued.id)?.addEvent('stream-continued', continuationAttributes(continued));
    });
  }

  #end(requestSpan: RequestSpan, request: SettledRequest): void {
    const { span, startedAt } = requestSpan;
    if (!span.isRecording()) return;
    this.#open.delete(requestSpan);
    const inside = trace.setSpan(ROOT_CONTEXT, span);
    for (const { name, fromMs, toMs } of phasesOf(request)) {
      this.#tracer.startSpan(name, { startTime: startedAt + fromMs }, inside).end(startedAt + toMs);
    }
    span.setAttributes(settledAttributes(request, this.#side));
    const name = this.#side === 'client' ? settledName(request) : null;
    if (name !== null) span.updateName(name);
    const failure = failureOf(request, this.#side);
    if (failure !== null) span.setStatus({ code: SpanStatusCode.ERROR, message: failure });
    span.end(startedAt + request.totalMs);
  }

  /** Rarely asked. Of two requests that their clients gave the same id, one. */
  #find(id: string): Span | undefined {
    return this.#open.list().find((open) => open.id === id)?.span;
  }

  #beginning(route: TracedRoute): SpanBeginning {
    const known = this.#beginnings.get(route.name);
    if (known !== undefined) return known;
    const made = beginningOf(route, this.#side);
    this.#beginnings.set(route.name, made);
    return made;
  }
}

/** The span of one request. */
class RequestSpan implements RequestTrace {
  readonly traceId: string;
  readonly traceparent: string;
  readonly id: string;
  readonly span: Span;
  /** ms since 1970. */
  readonly startedAt: number;
  /** Belongs to the list of open spans. */
  listIndex = -1;

  constructor(id: string, span: Span, startedAt: number) {
    const spanContext = span.spanContext();
    this.traceId = spanContext.traceId;
    this.traceparent = traceparentOf(spanContext);
    this.id = id;
    this.span = span;
    this.startedAt = startedAt;
  }
}
