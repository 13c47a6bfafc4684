import type { TokenCounts } from '../events.ts';

/**
 * Token counts out of an answer, whichever dialect it has: llama-server's own `timings`, OpenAI's and Anthropic's
 * `usage`, the top-level fields of `/completion`.
 * @returns null when the answer carries none.
 */
export function tokenCountsOf(answer: unknown): TokenCounts | null {
  return isRecord(answer) ? countsIn(answer) : null;
}

const TIMINGS = Buffer.from('"timings":{');
const PREDICTED = Buffer.from('"predicted_n":');
const PROMPT = Buffer.from('"prompt_n":');
const CACHED = Buffer.from('"cache_n":');
const USAGE = Buffer.from('"usage":');
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const ZERO = 0x30;
const NINE = 0x39;

/**
 * The same out of the bytes of an answer or event, without parsing all of it. Within a string of JSON the quotes of such a
 * key would be escaped, so what is found is a key.
 */
export function tokenCountsIn(json: Buffer): TokenCounts | null {
  const timings = json.lastIndexOf(TIMINGS);
  const completionTokens = timings === -1 ? null : numberAfter(json, PREDICTED, timings);
  if (completionTokens !== null) {
    const cachedTokens = numberAfter(json, CACHED, timings) ?? 0;
    return { promptTokens: (numberAfter(json, PROMPT, timings) ?? 0) + cachedTokens, completionTokens, cachedTokens };
  }
  const usage = memberAfter(json, USAGE);
  return usage === null ? null : countsOfUsage(usage);
}

/** The whole number after a key, looked for from `start` on. */
function numberAfter(json: Buffer, key: Buffer, start: number): number | null {
  const found = json.indexOf(key, start);
  if (found === -1) return null;
  let value = 0;
  for (let at = found + key.length; ; at += 1) {
    const digit = json[at] ?? 0;
    if (digit < ZERO || digit > NINE) return value;
    value = value * 10 + digit - ZERO;
  }
}

function memberAfter(json: Buffer, key: Buffer): Record<string, unknown> | null {
  const found = json.lastIndexOf(key);
  const start = found + key.length;
  if (found === -1 || json[start] !== OPEN_BRACE) return null;
  let depth = 0;
  for (let at = start; at < json.length; at += 1) {
    if (json[at] === OPEN_BRACE) depth += 1;
    else if (json[at] === CLOSE_BRACE) depth -= 1;
    if (depth === 0) return parsed(json.subarray(start, at + 1));
  }
  return null;
}

function parsed(json: Buffer): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(json.toString());
    return isRecord(value) ? value : null;
  } catch {
    // Numbers cannot be had from it; the answer itself is for others to judge.
    return null;
  }
}

function countsIn(answer: Record<string, unknown>): TokenCounts | null {
  const timings = recordIn(answer, 'timings');
  if (timings !== null && 'predicted_n' in timings) {
    const cachedTokens = count(timings['cache_n']);
    return {
      promptTokens: count(timings['prompt_n']) + cachedTokens,
      completionTokens: count(timings['predicted_n']),
      cachedTokens,
    };
  }
  const usage = recordIn(answer, 'usage') ?? recordIn(recordIn(answer, 'response') ?? {}, 'usage');
  if (usage !== null) return countsOfUsage(usage);
  // Its `tokens_cached` is what the slot holds afterwards, not what was found in the cache.
  if ('tokens_predicted' in answer) {
    return {
      promptTokens: count(answer['tokens_evaluated']),
      completionTokens: count(answer['tokens_predicted']),
      cachedTokens: 0,
    };
  }
  return null;
}

function countsOfUsage(usage: Record<string, unknown>): TokenCounts {
  const details = recordIn(usage, 'prompt_tokens_details') ?? recordIn(usage, 'input_tokens_details') ?? {};
  const anthropicCached = count(usage['cache_read_input_tokens']);
  return {
    promptTokens: count(usage['prompt_tokens'] ?? usage['input_tokens']) + anthropicCached,
    completionTokens: count(usage['completion_tokens'] ?? usage['output_tokens']),
    cachedTokens: count(details['cached_tokens']) || anthropicCached,
  };
}

function recordIn(holder: Record<string, unknown>, key: string): Record<string, unknown> | null {
  const value = holder[key];
  return isRecord(value) ? value : null;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function count(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}
