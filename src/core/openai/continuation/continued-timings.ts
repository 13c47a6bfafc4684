import { isRecord } from './json-bytes.ts';

/** Tokens of a stream, all its engines together. */
export interface StreamTokens {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

/**
 * llama-server's `timings` for a whole stream: the counts are those of the whole. The time of the tokens is that of the last engine
 * for its part, extended to the whole at the same speed, since nobody has told how long the first one took.
 */
export function continuedTimings(timings: unknown, tokens: StreamTokens): Record<string, unknown> | null {
  if (!isRecord(timings)) return null;
  const promptN = tokens.promptTokens - tokens.cachedTokens;
  const promptMs = numberIn(timings, 'prompt_ms');
  return {
    ...timings,
    cache_n: tokens.cachedTokens,
    prompt_n: promptN,
    prompt_per_token_ms: ratio(promptMs, promptN),
    prompt_per_second: ratio(1000 * promptN, promptMs),
    predicted_n: tokens.completionTokens,
    predicted_ms: numberIn(timings, 'predicted_per_token_ms') * tokens.completionTokens,
  };
}

function ratio(value: number, by: number): number {
  return by > 0 ? value / by : 0;
}

function numberIn(holder: Record<string, unknown>, key: string): number {
  const value = holder[key];
  return typeof value === 'number' ? value : 0;
}
