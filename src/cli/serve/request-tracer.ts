import type { Logger } from 'pino';
import type { RateLimitState } from '../../core/admission/rate-limit-policy.ts';
import type { LlameroError } from '../../core/errors.ts';
import type { PipelineRequest, ResponseHead, ResponseSink } from '../../core/exchange.ts';
import type { PromptProgress } from '../../core/openai/prompt-progress.ts';
import type { GatewayBackend } from '../../gateway/backend.ts';

/** Of each request and of each answer, in characters; the rest is counted only. */
const MAX_CHARACTERS = 16_384;

/**
 * A backend whose every request is traced into the log, level trace: what was asked, by whom, what was answered, and when. For
 * `LLAMA_DEBUG=true` alone: these lines hold prompts and answers. Keys never reach a backend.
 */
export function traceRequests<Backend extends GatewayBackend>(backend: Backend, logger: Logger): Backend {
  const exchange: GatewayBackend['exchange'] = (request, sink) =>
    backend.exchange(request, new TracedSink(request, sink, logger));
  return new Proxy(backend, {
    get(target, name) {
      if (name === 'exchange') return exchange;
      const value: unknown = Reflect.get(target, name);
      // Bound: private members are those of the backend, not of this stand-in.
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** Hands everything on and writes down what it was. */
class TracedSink implements ResponseSink {
  readonly #sink: ResponseSink;
  readonly #logger: Logger;
  readonly #startedAt = performance.now();
  #answer = '';
  #bytes = 0;
  #chunks = 0;
  #firstDataMs: number | null = null;

  constructor(request: PipelineRequest, sink: ResponseSink, logger: Logger) {
    this.#sink = sink;
    this.#logger = logger.child({ id: request.id });
    const { route, client, query, body, stream, headers, timeoutMs, work, continuation } = request;
    this.#logger.trace(
      {
        route: route.name,
        client: { pool: client.pool, weight: client.weight, priority: client.priority },
        query,
        headers,
        stream,
        timeoutMs,
        work,
        continuation: continuation === null ? null : continuation.way,
        bodyBytes: body?.length ?? 0,
        body: body === null ? null : body.subarray(0, MAX_CHARACTERS).toString(),
      },
      'trace: request',
    );
  }

  onLimits(state: RateLimitState): void {
    this.#logger.trace({ afterMs: this.#afterMs(), limits: state }, 'trace: limits');
    this.#sink.onLimits?.(state);
  }

  onQueued(position: number): void {
    this.#logger.trace({ afterMs: this.#afterMs(), position }, 'trace: waits for a slot');
    this.#sink.onQueued?.(position);
  }

  onProgress(progress: PromptProgress): void {
    this.#logger.trace({ afterMs: this.#afterMs(), ...progress }, 'trace: prompt is read');
    this.#sink.onProgress?.(progress);
  }

  onHead(head: ResponseHead): void {
    this.#logger.trace({ afterMs: this.#afterMs(), ...head }, 'trace: answer begins');
    this.#sink.onHead(head);
  }

  onData(chunk: Buffer): boolean {
    this.#firstDataMs ??= this.#afterMs();
    this.#bytes += chunk.length;
    this.#chunks += 1;
    const room = MAX_CHARACTERS - this.#answer.length;
    if (room > 0) this.#answer += chunk.subarray(0, room).toString();
    return this.#sink.onData(chunk);
  }

  onEnd(): void {
    this.#logger.trace(this.#summary(), 'trace: answer is complete');
    this.#sink.onEnd();
  }

  onError(error: LlameroError): void {
    const { code, status, message, param, details } = error;
    this.#logger.trace({ ...this.#summary(), code, status, message, param, details }, 'trace: answer failed');
    this.#sink.onError(error);
  }

  #summary(): Record<string, unknown> {
    return {
      totalMs: this.#afterMs(),
      firstDataMs: this.#firstDataMs,
      chunks: this.#chunks,
      bytes: this.#bytes,
      answer: this.#answer,
    };
  }

  #afterMs(): number {
    return Math.round((performance.now() - this.#startedAt) * 100) / 100;
  }
}
