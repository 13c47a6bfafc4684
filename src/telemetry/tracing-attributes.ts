import type { Attributes } from '@opentelemetry/api';
import { ERROR_CODES } from '../core/errors.ts';
import type { LlameroEvents, SettledRequest } from '../core/events.ts';
import { GEN_AI_OPERATIONS, GEN_AI_PROVIDER } from './gen-ai-operations.ts';

/**
 * What spans say, by OpenTelemetry's semantic conventions: HTTP (stable) and GenAI 0.1 (in development). Never a prompt,
 * an answer, a user or an address. Pure.
 */

/** The side of a request that its span shows: a gateway serves it, a program that uses the library asks for it. */
export type TracedSide = 'server' | 'client';

/** The route of a request, as far as spans tell of it. */
export interface TracedRoute {
  readonly method: string;
  readonly path: string;
  /** As in events: `chat.completions`. */
  readonly name: string;
}

/** Name and attributes of a span before anything has happened; these are what a sampler sees. */
export interface SpanBeginning {
  readonly name: string;
  readonly attributes: Attributes;
}

/** Part of a request with a length of its own; a child span. Times in ms from the beginning of the request. */
export interface Phase {
  readonly name: 'queue' | 'prefill' | 'decode' | 'engine';
  readonly fromMs: number;
  readonly toMs: number;
}

/** A span of the gateway is named as HTTP names it, one of the library as GenAI does; its model follows at the end. */
export function beginningOf(route: TracedRoute, side: TracedSide): SpanBeginning {
  const operation = GEN_AI_OPERATIONS[route.name];
  const attributes: Attributes =
    operation === undefined ? {} : { 'gen_ai.operation.name': operation, 'gen_ai.provider.name': GEN_AI_PROVIDER };
  if (side === 'client') return { name: operation ?? route.name, attributes };
  attributes['http.request.method'] = route.method;
  attributes['http.route'] = route.path;
  attributes['url.path'] = route.path;
  attributes['url.scheme'] = 'http';
  return { name: `${route.method} ${route.path}`, attributes };
}

/** What a request has by itself. */
export function requestAttributes(id: string, stream: boolean, maxTokens: number | null): Attributes {
  const attributes: Attributes = { 'llamero.request.id': id };
  if (stream) attributes['gen_ai.request.stream'] = true;
  if (maxTokens !== null && maxTokens > 0) attributes['gen_ai.request.max_tokens'] = maxTokens;
  return attributes;
}

/** What is known of a request when it has ended. */
export function settledAttributes(request: SettledRequest, side: TracedSide): Attributes {
  const { error, firstTokenMs } = request;
  const attributes: Attributes = {
    'llamero.outcome': request.outcome,
    'llamero.retries': request.retries,
    'llamero.continuations': request.continuations,
    'llamero.overhead': request.ownMs / 1000,
  };
  if (side === 'server') attributes['http.response.status_code'] = request.status;
  if (error !== null) attributes['error.type'] = error.code;
  if (firstTokenMs !== null) attributes['gen_ai.response.time_to_first_chunk'] = firstTokenMs / 1000;
  if (GEN_AI_OPERATIONS[request.route] === undefined) return attributes;
  if (request.model !== null) {
    attributes['gen_ai.request.model'] = request.model;
    attributes['gen_ai.response.model'] = request.model;
  }
  return addUsage(attributes, request);
}

/** Name of a span of the library when the model is known. */
export function settledName(request: SettledRequest): string | null {
  const operation = GEN_AI_OPERATIONS[request.route];
  return operation === undefined || request.model === null ? null : `${operation} ${request.model}`;
}

/**
 * What made it an error, as one sentence that never quotes a request; null: it is none. A request that its client got wrong is no
 * error of the server (HTTP conventions), and one that its caller cancelled is nobody's.
 */
export function failureOf({ outcome, error }: SettledRequest, side: TracedSide): string | null {
  if (outcome !== 'failed' || error === null) return null;
  return side === 'client' || error.status >= 500 ? ERROR_CODES[error.code].meaning : null;
}

/** The phases that a request went through, in order; those that it did not reach are left out. */
export function phasesOf({ model, queueMs, firstTokenMs, totalMs }: SettledRequest): Phase[] {
  const queue: Phase = { name: 'queue', fromMs: 0, toMs: queueMs };
  // Only a request that was sent knows the model that the engine serves.
  if (model === null) return [queue];
  if (firstTokenMs === null) return [queue, { name: 'engine', fromMs: queueMs, toMs: totalMs }];
  return [
    queue,
    { name: 'prefill', fromMs: queueMs, toMs: firstTokenMs },
    { name: 'decode', fromMs: firstTokenMs, toMs: totalMs },
  ];
}

/** A request that is sent once more. */
export function retryAttributes({ attempt, delayMs, reason }: LlameroEvents['retry'][0]): Attributes {
  return { 'llamero.retry.attempt': attempt, 'llamero.retry.delay': delayMs / 1000, 'llamero.retry.reason': reason };
}

/** A stream that another engine goes on with. */
export function continuationAttributes({ attempt, way, cause }: LlameroEvents['stream-continued'][0]): Attributes {
  return {
    'llamero.continuation.attempt': attempt,
    'llamero.continuation.way': way,
    'llamero.continuation.cause': cause,
  };
}

function addUsage(attributes: Attributes, { usage, generatedTokens }: SettledRequest): Attributes {
  if (usage === null) {
    if (generatedTokens > 0) attributes['gen_ai.usage.output_tokens'] = generatedTokens;
    return attributes;
  }
  attributes['gen_ai.usage.input_tokens'] = usage.promptTokens;
  attributes['gen_ai.usage.output_tokens'] = usage.completionTokens;
  if (usage.cachedTokens > 0) attributes['gen_ai.usage.cache_read.input_tokens'] = usage.cachedTokens;
  return attributes;
}
