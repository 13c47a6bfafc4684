import { rateLimitHeaders } from '../core/admission/rate-limit-headers.ts';
import type { RateLimitState } from '../core/admission/rate-limit-policy.ts';
import type { ResponseHead } from '../core/exchange.ts';
import type { Dialect } from '../core/openai/routes.ts';
import type { GatewayResponse } from './gateway-message.ts';

/** What the headers of a relayed answer tell. */
export interface AnswerFacts {
  readonly dialect: Dialect;
  /** null before the engine has answered. */
  readonly head: ResponseHead | null;
  /** What the client has left; null: it has no limits. */
  readonly limits: RateLimitState | null;
  /** Its place in the queue when it came; null: it did not ask, or did not wait. */
  readonly queuePosition: number | null;
}

/** The headers of every relayed answer, names and values in turn. */
export function answerHeaders(
  { requestId, corsHeaders }: GatewayResponse,
  { dialect, head, limits, queuePosition }: AnswerFacts,
): string[] {
  const headers = ['x-request-id', requestId];
  if (head !== null) {
    headers.push('server-timing', `queue;dur=${tenths(head.queueMs)}, engine;dur=${tenths(head.engineMs)}`);
  }
  // The name by which Anthropic's clients know it.
  if (dialect === 'messages') headers.push('request-id', requestId);
  if (queuePosition !== null) headers.push('x-queue-position', String(queuePosition));
  if (limits !== null) headers.push(...rateLimitHeaders(limits));
  if (corsHeaders.length > 0) headers.push(...corsHeaders);
  return headers;
}

/** `toFixed`, and any number that is not whole, take several times as long to write. */
function tenths(value: number): string {
  const whole = Math.round(value * 10);
  const last = whole % 10;
  return last === 0 ? String(whole / 10) : `${(whole - last) / 10}.${last}`;
}
