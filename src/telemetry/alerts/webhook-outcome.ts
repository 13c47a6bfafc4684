/** What the answer to a delivery means, and how long to wait. */

/** Delivered; not wanted, and never will be; or worth another try, not before so many ms where the receiver said so. */
export type DeliveryOutcome =
  | { readonly is: 'delivered' }
  | { readonly is: 'refused'; readonly reason: string }
  | { readonly is: 'failed'; readonly reason: string; readonly retryAfterMs: number | null };

/** Answers below 500 that say: later. */
const LATER: ReadonlySet<number> = new Set([408, 425, 429]);

/**
 * What a status means. Redirections are not followed: what is signed for one receiver is not for another. Pure.
 * @param retryAfter the header of that name: seconds, or a date (RFC 9110, 10.2.3).
 */
export function outcomeOfStatus(status: number, retryAfter: string | null, nowMs: number): DeliveryOutcome {
  if (status >= 200 && status < 300) return { is: 'delivered' };
  const reason = `the answer is ${status}`;
  if (status < 500 && !LATER.has(status)) return { is: 'refused', reason };
  return { is: 'failed', reason, retryAfterMs: retryAfterMs(retryAfter, nowMs) };
}

/**
 * The delay before the next try: it doubles with each, varies by a half so that many senders do not come together, and is no shorter than
 * the receiver asked for; but never longer than the longest. Pure.
 * @param tries that have failed so far, at least 1.
 * @param random from 0 to 1.
 */
export function delayBeforeRetry(
  tries: number,
  limits: { readonly retryDelayMs: number; readonly maxDelayMs: number },
  askedMs: number | null,
  random: number,
): number {
  const full = Math.min(limits.maxDelayMs, limits.retryDelayMs * 2 ** (tries - 1));
  return Math.min(limits.maxDelayMs, Math.max(full * (0.5 + random / 2), askedMs ?? 0));
}

function retryAfterMs(header: string | null, nowMs: number): number | null {
  if (header === null) return null;
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs);
}
