import type { Config } from '../config.ts';
import type { LlameroError } from '../errors.ts';

/** The longest wait before a retry, in ms: somebody holds a connection open for it. */
export const LONGEST_RETRY_DELAY_MS = 60_000;
/** How often one request is sent again because its engine was lost: one that died of it twice must not get a third. */
const MAX_RESENDS_AFTER_LOSS = 1;
/** The name of that in the `retry` event; it needs not be listed in `retryableErrors`. */
export const ENGINE_LOST = 'engine_lost';

/**
 * Other codes, of undici (`docs/api/Errors.md`) and of the system, for a connection that never came about, by the one that
 * stands for them in `retryableErrors`: what a port that nobody listens on is to TCP, a missing file is to a UNIX socket.
 */
const ALSO_KNOWN_AS: Readonly<Record<string, string>> = {
  ENOENT: 'ECONNREFUSED',
  ENOTSOCK: 'ECONNREFUSED',
  EHOSTUNREACH: 'ECONNREFUSED',
  ENETUNREACH: 'ECONNREFUSED',
  ENOTFOUND: 'ECONNREFUSED',
  EAI_AGAIN: 'ECONNREFUSED',
  UND_ERR_DESTROYED: 'ECONNREFUSED',
  UND_ERR_CLOSED: 'ECONNREFUSED',
  UND_ERR_CONNECT_TIMEOUT: 'ETIMEDOUT',
};

/** One failed sending of a request, and all that decides whether there is another. */
export interface FailedSend {
  /** What the caller gets to see if it is not sent again. */
  readonly error: LlameroError;
  /** Error code of the system or of undici, when the connection failed; otherwise null. */
  readonly systemCode: string | null;
  /** Status of the engine's answer; null when there was none. */
  readonly engineStatus: number | null;
  /** `Retry-After` of the engine, in ms; null: it said nothing. */
  readonly retryAfterMs: number | null;
  /** Whether the connection broke, or the engine was given up as hung, while the request was there. */
  readonly engineLost: boolean;
  /** How often that happened to this request, this time included. */
  readonly losses: number;
  /** Which retry this would be, from 1. */
  readonly attempt: number;
  /** Whether any byte of an answer has reached the caller. */
  readonly answerStarted: boolean;
  readonly cancelled: boolean;
  /** What is left of the whole request's limit, in ms; null: no limit. */
  readonly deadlineLeftMs: number | null;
  /** Whether the engine is known not to be there: then the wait for its readiness takes the place of the delay. */
  readonly engineIsAway: boolean;
  /** Whether the retry budget has room (`RetryBudget.hasRoom`). */
  readonly budgetHasRoom: boolean;
}

/** Why a request is not sent again. */
export type NoRetry =
  | 'cancelled'
  | 'answer_started'
  | 'client_error'
  | 'not_retryable'
  | 'engine_lost_again'
  | 'retries_used_up'
  | 'budget_used_up'
  | 'deadline'
  | 'retry_after_too_long';

/** What to do. `reason` is the name that makes it retryable, as it stands in `retryableErrors`, or `engine_lost`. */
export type RetryDecision =
  | { readonly retry: true; readonly delayMs: number; readonly reason: string }
  | { readonly retry: false; readonly why: NoRetry };

/**
 * Whether a request is sent once more, and when. Pure.
 *
 * Never once the caller has seen a byte, for a fault of the request, for a cancelled one, or past its deadline. Otherwise
 * what `retryableErrors` lists: codes of the system, HTTP statuses of the engine as text, llamero's own error codes.
 *
 * @param random in [0, 1).
 */
export function decideRetry(failed: FailedSend, config: Config['retry'], random: number): RetryDecision {
  if (failed.cancelled) return no('cancelled');
  if (failed.answerStarted) return no('answer_started');
  if (isClientError(failed.error.status) || isClientError(failed.engineStatus)) return no('client_error');
  const reason = reasonOf(failed, config.retryableErrors);
  if (reason === null) return no('not_retryable');
  if (failed.losses > MAX_RESENDS_AFTER_LOSS) return no('engine_lost_again');
  if (failed.attempt > config.maxRetries) return no('retries_used_up');
  if (!failed.budgetHasRoom) return no('budget_used_up');
  const delayMs = waitMs(failed, config, random);
  if (delayMs > LONGEST_RETRY_DELAY_MS) return no('retry_after_too_long');
  if (failed.deadlineLeftMs !== null && delayMs >= failed.deadlineLeftMs) return no('deadline');
  return { retry: true, delayMs, reason };
}

/**
 * The delay before retry number `attempt` (from 1), in ms: exponential, at most {@link LONGEST_RETRY_DELAY_MS}, with "equal
 * jitter" (Brooker, "Exponential Backoff And Jitter"): half of it fixed, half random, so that callers do not come back in step.
 */
export function retryDelayMs(
  attempt: number,
  config: Pick<Config['retry'], 'retryDelay' | 'backoffMultiplier'>,
  random: number,
): number {
  const full = Math.min(LONGEST_RETRY_DELAY_MS, config.retryDelay * config.backoffMultiplier ** (attempt - 1));
  return Math.round(full / 2 + (full / 2) * random);
}

function waitMs(failed: FailedSend, config: Config['retry'], random: number): number {
  if (failed.engineIsAway) return 0;
  return Math.max(retryDelayMs(failed.attempt, config, random), failed.retryAfterMs ?? 0);
}

/** The name under which the failure may be retried; null: it may not. */
function reasonOf(failed: FailedSend, retryable: readonly string[]): string | null {
  if (failed.engineLost) return ENGINE_LOST;
  const { systemCode, engineStatus, error } = failed;
  const names = [systemCode, ALSO_KNOWN_AS[systemCode ?? ''], engineStatus?.toString(), error.code];
  return names.find((name) => typeof name === 'string' && retryable.includes(name)) ?? null;
}

function isClientError(status: number | null): boolean {
  return status !== null && status >= 400 && status < 500;
}

function no(why: NoRetry): RetryDecision {
  return { retry: false, why };
}
