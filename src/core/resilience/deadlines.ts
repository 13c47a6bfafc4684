import { LlameroError } from '../errors.ts';

interface Phase {
  /** What took too long, in the words of the message: "… took longer than 30000 ms." */
  readonly words: string;
  /** Whether it is the engine's failure when this takes too long. */
  readonly blamesEngine: boolean;
}

/**
 * The phases of a request that end in `deadline_exceeded`, in their order; the wait for a slot ends in `queue_timeout`. The names stand in `details.phase`.
 */
export const DEADLINE_PHASES = {
  connect: { words: 'Reaching the engine', blamesEngine: true },
  'first token': { words: 'The wait for the first token, without any progress of the prompt,', blamesEngine: true },
  idle: { words: 'The wait for the next token', blamesEngine: true },
  'whole request': { words: 'The whole request', blamesEngine: false },
} as const satisfies Record<string, Phase>;

/** See {@link DEADLINE_PHASES}. */
export type DeadlinePhase = keyof typeof DEADLINE_PHASES;

/** Why a limit ended the request. */
export function deadlineExceeded(phase: DeadlinePhase, limitMs: number): LlameroError {
  return new LlameroError('deadline_exceeded', `${DEADLINE_PHASES[phase].words} took longer than ${limitMs} ms.`, {
    details: { phase, limitMs },
  });
}

/** Whether a passed deadline of this phase is a failure of the engine. What is no phase is not. */
export function blamesEngine(phase: unknown): boolean {
  return (
    typeof phase === 'string' &&
    Object.hasOwn(DEADLINE_PHASES, phase) &&
    DEADLINE_PHASES[phase as DeadlinePhase].blamesEngine
  );
}

/** What is left of a limit that runs since `startedAt`, in ms, at least 0; null: no limit. Pure. */
export function timeLeftMs(limitMs: number | null, startedAt: number, now: number): number | null {
  return limitMs === null ? null : Math.max(0, startedAt + limitMs - now);
}
