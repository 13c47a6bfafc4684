import type { HangLimits } from './decide-hang.ts';

/** A request as `HangWatch` sees it. The last two fields belong to the watch alone. */
export interface WatchedExchange {
  /** Generation of the engine that works on it. */
  readonly generation: number;
  /**
   * `prefill`: a stream before its first token; `decode`: a stream after it; `whole`: an answer that comes in one piece. null: not at
   * an engine, or not in a slot of it, or paused because its reader does not keep up.
   */
  readonly phase: 'prefill' | 'decode' | 'whole' | null;
  /** Signs of life so far: data events, progress of the prompt included, comments not. Any change is life. */
  readonly lifeCount: number;
  /** Begin with -1. */
  watchedLifeCount: number;
  /** Begin with 0. */
  watchedSilentMs: number;
}

/**
 * Takes the counters of requests at an engine and lengthens the silence of those that have not moved.
 * @returns whether any of them has moved. A request seen for the first time begins with no silence, and is no sign of life.
 */
export function sampleLife(exchanges: readonly WatchedExchange[], elapsedMs: number): boolean {
  let anyLife = false;
  for (const exchange of exchanges) {
    if (exchange.lifeCount === exchange.watchedLifeCount) {
      exchange.watchedSilentMs += elapsedMs;
      continue;
    }
    if (exchange.watchedLifeCount !== -1 || exchange.lifeCount > 0) anyLife = true;
    exchange.watchedLifeCount = exchange.lifeCount;
    exchange.watchedSilentMs = 0;
  }
  return anyLife;
}

/**
 * Whether a request had been silent for too long `engineSilenceMs` ago, when its engine last showed life. A whole answer is silent
 * by nature and has a limit of its own.
 */
export function isOverdue(
  { phase, watchedSilentMs }: WatchedExchange,
  { idleMs, firstTokenMs }: HangLimits,
  engineSilenceMs: number,
): boolean {
  if (phase === null || phase === 'whole') return false;
  const limitMs = phase === 'decode' ? idleMs : Math.max(idleMs, firstTokenMs);
  return watchedSilentMs - engineSilenceMs >= limitMs;
}
