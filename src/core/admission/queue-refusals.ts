import { LlameroError } from '../errors.ts';

/** Retry-After while nothing has been measured. */
const UNKNOWN_RETRY_MS = 1000;

/** The refusal of a full queue. @param nextTurnMs when the next slot is expected to become free; null: not known. */
export function queueFull(waiting: number, nextTurnMs: number | null): LlameroError {
  const retryAfterMs = Math.ceil(nextTurnMs ?? UNKNOWN_RETRY_MS);
  return new LlameroError('queue_full', `${waiting} requests are waiting already.`, { retryAfterMs });
}

/**
 * The refusal of a request that would wait in vain, or null.
 * @param position its place in the order of service; 1 is next.
 * @param waitMs how long until its turn; null: not known.
 */
export function tooLate(position: number, waitMs: number | null, deadlineMs: number): LlameroError | null {
  if (waitMs === null || waitMs <= deadlineMs) return null;
  return new LlameroError(
    'queue_timeout',
    `Its turn would come after about ${Math.ceil(waitMs)} ms, and it may wait ${deadlineMs} ms.`,
    {
      retryAfterMs: Math.ceil(Math.max(waitMs - deadlineMs, waitMs / position)),
      details: { position, expectedWaitMs: Math.ceil(waitMs), deadlineMs },
    },
  );
}
