import { type Context, createTraceState, type SpanContext, trace } from '@opentelemetry/api';

/** W3C Trace Context (https://www.w3.org/TR/trace-context/), to and from the two headers. */

/**
 * The context that a request begins in: within the span that is active in the program, else the caller's own.
 * @param headers `traceparent`, which must be well-formed, and `tracestate`.
 */
export function parentContext(active: Context, headers: Readonly<Record<string, string>> | undefined): Context {
  const traceparent = headers?.['traceparent'];
  if (traceparent === undefined || trace.getSpan(active) !== undefined) return active;
  return trace.setSpanContext(active, remoteSpan(traceparent, headers?.['tracestate']));
}

/** `traceparent` of a span, for whoever works on its behalf. */
export function traceparentOf({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
}

function remoteSpan(traceparent: string, tracestate: string | undefined): SpanContext {
  return {
    traceId: traceparent.slice(3, 35),
    spanId: traceparent.slice(36, 52),
    traceFlags: Number.parseInt(traceparent.slice(53, 55), 16) & 1,
    isRemote: true,
    ...(tracestate === undefined ? {} : { traceState: createTraceState(tracestate) }),
  };
}
