import type { Config } from '../config.ts';
import { LlameroError } from '../errors.ts';

interface Phase {
  /** What took too long, in the words of the message: "… took longer than 30000 ms." */
  readonly words: string;
  /** Whether it is the engine's failure when this takes too long. */
  readonly blamesEngine: boolean;
}

/** The phases of a request that have a limit, in their order. The names stand in `details.phase` of `deadline_exceeded`. */
export const DEADLINE_PHASES = {
  queue: { words: 'The wait for a slot', blamesEngine: false },
  connect: { words: 'Reaching the engine', blamesEngine: true },
  'first token': { words: 'The wait for the first token, without any progress of the prompt,', blamesEngine: true },
  idle: { words: 'The wait for the next token', blamesEngine: true },
  'whole request': { words: 'The whole request', blamesEngine: false },
} as const satisfies Record<string, Phase>;

/** See {@link DEADLINE_PHASES}. */
export type DeadlinePhase = keyof typeof DEADLINE_PHASES;

/** The limits of one request, in ms; null: none. */
export type Deadlines = Readonly<Record<DeadlinePhase, number | null>>;

/**
 * The limits of one request. A stream is bounded by its phases and by `timeouts.total`; a whole answer is silent while it is
 * made, so it is bounded by `timeoutMs` alone once it was sent. Pure.
 * @param request.timeoutMs limit of the whole request, as its caller asked for; null: none.
 */
export function deadlinesOf(
  timeouts: Config['timeouts'],
  request: { readonly stream: boolean; readonly timeoutMs: number | null },
): Deadlines {
  const { stream, timeoutMs } = request;
  return {
    queue: timeouts.queue,
    connect: timeouts.connect,
    'first token': stream ? timeouts.firstToken : null,
    idle: stream ? timeouts.idle : null,
    'whole request': stream ? shorter(timeoutMs, timeouts.total) : timeoutMs,
  };
}

/** Why a limit ended the request. */
export function deadlineExceeded(phase: DeadlinePhase, limitMs: number): LlameroError {
  return new LlameroError('deadline_exceeded', `${DEADLINE_PHASES[phase].words} took longer than ${limitMs} ms.`, {
    details: { phase, limitMs },
  });
}

/** Whether a passed deadline of this phase is a failure of the engine. What is no phase is not. */
export function blamesEngine(phase: unknown): boolean {
  return typeof phase === 'string' && phase in DEADLINE_PHASES && DEADLINE_PHASES[phase as DeadlinePhase].blamesEngine;
}

/** When an engine may be silent for how long, and since when it is. Times in ms of one monotonic clock. */
export interface Silence {
  /** Whether a token was seen: before, `first token` is the limit, from then on `idle`. */
  readonly tokenSeen: boolean;
  /** When the request was sent, or the latest sign of life came: a token, or progress of the prompt. */
  readonly lastLifeAt: number;
}

/** What to do now about a silent engine. */
export type SilenceVerdict =
  | { readonly kind: 'unlimited' }
  /** Look again after so many ms, not sooner. */
  | { readonly kind: 'wait'; readonly waitMs: number }
  | { readonly kind: 'exceeded'; readonly phase: 'first token' | 'idle'; readonly limitMs: number };

/**
 * Judges the silence of an engine. Made for one timer per request that is not touched by tokens: it fires, asks, and is
 * set again for what is left. Pure.
 */
export function judgeSilence(deadlines: Deadlines, silence: Silence, now: number): SilenceVerdict {
  const phase = silence.tokenSeen ? 'idle' : 'first token';
  const limitMs = deadlines[phase];
  if (limitMs === null) return { kind: 'unlimited' };
  const waitMs = silence.lastLifeAt + limitMs - now;
  // Timers count whole milliseconds and may fire a fraction early.
  return waitMs >= 1 ? { kind: 'wait', waitMs: Math.ceil(waitMs) } : { kind: 'exceeded', phase, limitMs };
}

/** What is left of a limit that runs since `startedAt`, in ms, at least 0; null: no limit. Pure. */
export function timeLeftMs(limitMs: number | null, startedAt: number, now: number): number | null {
  return limitMs === null ? null : Math.max(0, startedAt + limitMs - now);
}

function shorter(one: number | null, other: number | null): number | null {
  if (one === null) return other;
  return other === null ? one : Math.min(one, other);
}
