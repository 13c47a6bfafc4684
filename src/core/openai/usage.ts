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
/** More than the numbers of the timings take that are read here; they stand at its beginning. */
const TIMINGS_BYTES = 400;
const USAGE = Buffer.from('"usage":');
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const ZERO = 0x30;

/**
 * The same out of the bytes of an answer or event, without parsing all of it. Within a string of JSON the quotes of such a
 * key would be escaped, so what is found is a key.
 */
export function tokenCountsIn(json: Buffer): TokenCounts | null {
  const found = json.lastIndexOf(TIMINGS);
  // A search within a string takes a small part of one within bytes.
  const timings = found === -1 ? '' : json.toString('latin1', found, found + TIMINGS_BYTES);
  const completionTokens = numberAfter(timings, '"predicted_n":');
  if (completionTokens !== null) {
    const cachedTokens = numberAfter(timings, '"cache_n":') ?? 0;
    return { promptTokens: (numberAfter(timings, '"prompt_n":') ?? 0) + cachedTokens, completionTokens, cachedTokens };
  }
  const usage = memberAfter(json, USAGE);
  return usage === null ? null : countsOfUsage(usage);
}

/** The whole number after a key; null where the key is not. */
function numberAfter(text: string, key: string): number | null {
  const found = text.indexOf(key);
  if (found === -1) return null;
  let value = 0;
  for (let at = found + key.length; ; at += 1) {
    const digit = text.charCodeAt(at) - ZERO;
    if (!(digit >= 0 && digit <= 9)) return value;
    value = value * 10 + digit;
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
