import type { Client } from './admission/client.ts';
import type { RateLimitState } from './admission/rate-limit-policy.ts';
import type { LlameroError } from './errors.ts';
import type { RequestTrace } from './events.ts';
import type { StreamPlan } from './openai/continuation/plan-stream.ts';
import type { PromptProgress } from './openai/prompt-progress.ts';
import type { RequestWork } from './openai/request-work.ts';
import type { EngineRoute } from './openai/routes.ts';

/**
 * The contract between the pipeline and whoever calls it: the gateway, which writes to a socket, and the library,
 * which fills a promise or an async iterable. Push-style with a pause signal, because this is the per-token path.
 */

/** One request for an engine. */
export interface PipelineRequest {
  /** Unique per request; in every event and, as `x-request-id`, in the answer. */
  readonly id: string;
  readonly route: EngineRoute;
  /** Who sends it. */
  readonly client: Client;
  /** Query of the request with its question mark, or empty. */
  readonly query: string;
  /** Body as the caller sent it; null for GET. */
  readonly body: Buffer | null;
  /** What the body asks of the engine. */
  readonly work: RequestWork;
  /** What happens to the stream if its engine is lost, and how it is delivered; null: it ends with an error, or is no stream. */
  readonly continuation: StreamPlan | null;
  /** Whether the caller asked for a stream (`"stream": true`). */
  readonly stream: boolean;
  /** Headers that travel on to the engine, such as `traceparent`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Whole-request limit in ms from now; null: none. The caller already took the shortest of its sources. */
  readonly timeoutMs: number | null;
}

/** Makes requests parts of traces; telemetry has one where tracing is configured. */
export interface RequestTracing {
  /** Called when the request enters. The span is ended by whoever hears of its `settled` event. Must not throw. */
  begin(request: PipelineRequest): RequestTrace | null;
}

/** What is known when the first byte of the answer may go out. */
export interface ResponseHead {
  readonly status: number;
  readonly contentType: string;
  /** Time spent waiting for the engine and for a slot, in ms. */
  readonly queueMs: number;
  /** From sending to the engine's first byte, in ms. */
  readonly engineMs: number;
}

/**
 * Receives one answer. Calls come in this order: `onHead` once, `onData` any number of times, then exactly one of
 * `onEnd` and `onError`; `onError` may come first and alone.
 *
 * A non-streaming answer is complete and checked when `onHead` is called, and arrives in exactly one `onData`.
 * A stream arrives in whole server-sent events, never cut inside one, and `onEnd` means that its dialect's own end was seen.
 * Engine answers that are errors arrive as `onError` with the engine's status and message.
 */
export interface ResponseSink {
  /** What the caller may still use, where it has limits: before everything else, an error included. */
  onLimits?(state: RateLimitState): void;
  /** The request waits for a slot; `position` 1 is the next. At most once, before `onHead`. */
  onQueued?(position: number): void;
  /** The engine is reading the prompt of a stream. Any number of times, before `onHead`. */
  onProgress?(progress: PromptProgress): void;
  onHead(head: ResponseHead): void;
  /** @returns false to pause; go on with {@link Exchange.resume}. At most one more chunk may follow a false. */
  onData(chunk: Buffer): boolean;
  onEnd(): void;
  onError(error: LlameroError): void;
}

/** The running request, in the hand of its caller. */
export interface Exchange {
  /** Go on after `onData` returned false. */
  resume(): void;
  /** Its place in the queue now, 1 for the next; null when it does not wait for a slot. */
  queuePosition(): number | null;
  /**
   * The caller is gone, or wants no more: the upstream connection is closed, so the engine frees its slot.
   * `onError` follows with `reason` (default code `cancelled`), unless the exchange has ended already. Idempotent.
   */
  cancel(reason?: LlameroError): void;
}
