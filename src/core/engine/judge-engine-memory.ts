/** What is remembered of an engine's memory from one sample to the next. */
export interface EngineMemoryState {
  readonly generation: number;
  /** Of this generation when it was first seen. */
  readonly freshBytes: number;
  /** This generation has been acted upon; once is enough. */
  readonly acted: boolean;
  /** The limit was reached, and no fresh engine has been below it since. */
  readonly short: boolean;
}

/** `replace`: it has grown to the limit. `limit-too-low`: it was above it from the start, so that a fresh one is no better. */
export type EngineMemoryVerdict = 'replace' | 'limit-too-low' | 'recovered' | 'nothing';

/** Before the first sample. */
export const NO_ENGINE_MEMORY: EngineMemoryState = { generation: 0, freshBytes: 0, acted: false, short: false };

/**
 * Whether an engine has to be replaced for its memory. At most once per generation, and never one that was above the
 * limit when it was fresh: that would go on for ever. Pure.
 */
export function judgeEngineMemory(
  state: EngineMemoryState,
  sample: { readonly generation: number; readonly usedBytes: number },
  limitBytes: number,
): { readonly state: EngineMemoryState; readonly verdict: EngineMemoryVerdict } {
  const { generation, usedBytes } = sample;
  const isOver = usedBytes >= limitBytes;
  if (generation !== state.generation) {
    const told = state.short && state.freshBytes >= limitBytes;
    const verdict = isOver ? (told ? 'nothing' : 'limit-too-low') : state.short ? 'recovered' : 'nothing';
    return { state: { generation, freshBytes: usedBytes, acted: isOver, short: isOver }, verdict };
  }
  if (!isOver || state.acted) return { state, verdict: 'nothing' };
  return { state: { ...state, acted: true, short: true }, verdict: 'replace' };
}
