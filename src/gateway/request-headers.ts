import { LlameroError } from '../core/errors.ts';
import type { ContinuationMode, ContinuationRules, StreamRules } from '../core/openai/continuation/plan-stream.ts';
import { newRequestId } from '../core/request-id.ts';

/** Reading of the few request headers that mean something to the gateway itself. Pure, except for a new request id. */

const SANE_REQUEST_ID = /^[\x21-\x7e]{1,128}$/;
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;
const LONGEST_TIMEOUT_MS = 2_147_483_647;

/** The caller's `X-Request-Id` if it is 1 to 128 visible ASCII characters, else a new one. */
export function requestIdOf(header: string | string[] | undefined): string {
  return typeof header === 'string' && SANE_REQUEST_ID.test(header) ? header : newRequestId();
}

/**
 * `traceparent` as the W3C Trace Context defines it, if it is well-formed, with the `tracestate` that belongs to it; a malformed one is
 * not passed on.
 */
export function traceHeaders(
  traceparent: string | string[] | undefined,
  tracestate?: string | string[],
): Record<string, string> | undefined {
  if (typeof traceparent !== 'string' || !TRACEPARENT.test(traceparent)) return undefined;
  return tracestate === undefined ? { traceparent } : { traceparent, tracestate: String(tracestate) };
}

/**
 * The whole-request limit in ms: the server's own, or the caller's `X-Request-Timeout` where that is shorter.
 * @throws LlameroError `invalid_request` if the header is not a whole number of at least 1.
 */
export function timeoutOf(header: string | string[] | undefined, ownMs: number | null): number | null {
  if (header === undefined) return ownMs;
  const asked = typeof header === 'string' && /^\d{1,15}$/.test(header) ? Number(header) : 0;
  if (asked < 1) {
    throw new LlameroError('invalid_request', 'X-Request-Timeout must be a whole number of milliseconds, at least 1.', {
      param: 'x-request-timeout',
    });
  }
  return Math.min(asked, ownMs ?? LONGEST_TIMEOUT_MS);
}

/**
 * `X-Stream-Continuation`, or the server's own mode without it.
 * @throws LlameroError `invalid_request` for anything but `fast`, `exact` and `off`.
 */
export function continuationOf(header: string | string[] | undefined, own: ContinuationMode): ContinuationMode {
  if (header === undefined) return own;
  if (header === 'fast' || header === 'exact' || header === 'off') return header;
  throw new LlameroError('invalid_request', 'X-Stream-Continuation must be fast, exact or off.', {
    param: 'x-stream-continuation',
  });
}

/**
 * What the caller asks of its stream: `X-Stream-Continuation`, `X-Stream-Commit`, `X-Llamero-Trace`.
 * @param own the server's own rules, returned where the caller asks for nothing else.
 * @throws LlameroError `invalid_request` for a value that is not known.
 */
export function streamRulesOf(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  own: ContinuationRules,
): StreamRules {
  const mode = continuationOf(headers['x-stream-continuation'], own.mode);
  const commit = headers['x-stream-commit'];
  if (commit !== undefined && commit !== 'complete') {
    throw new LlameroError('invalid_request', 'X-Stream-Commit must be complete.', { param: 'x-stream-commit' });
  }
  const trace = headers['x-llamero-trace'];
  const isTraced = trace !== undefined && trace !== 'false' && trace !== '0';
  if (mode === own.mode && commit === undefined && !isTraced) return own;
  return { ...own, mode, commit, isTraced };
}

/** The declared body length, or null without one. Node has refused lengths that are not numbers before this is called. */
export function contentLengthOf(header: string | undefined): number | null {
  return header === undefined ? null : Number(header);
}
