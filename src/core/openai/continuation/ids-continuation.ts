import { memberSpan, withMember, withMembers } from './body-member.ts';
import type { Continuation } from './continuation.ts';
import type { IdsJournal } from './ids-journal.ts';
import { IdsSplicer } from './ids-splicer.ts';
import { parsedObject } from './json-bytes.ts';
import { stopStrings, tokenBudget } from './token-budget.ts';

/** What else is known of the stream that broke. */
export interface IdsContinuationOptions {
  /** Only token ids will do; text in their place is refused. Default false. */
  readonly exact?: boolean;
  /** Tokens of the original prompt that its engine had in its cache, where it told. Default 0. */
  readonly cachedTokens?: number;
}

/**
 * The request to `/completion` that goes on behind the tokens that were shown.
 *
 * The prompt becomes a mixed array, `["text", 12, 34]`, of which llama-server tokenises the text as it did before
 * (`tokenize_mixed` in `tools/server/server-common.cpp`). Everything else of the body stays as its bytes are.
 * @param originalBody as the first engine had it, without what llamero asked for itself.
 * @returns null where it cannot be told how to go on, or there is nothing left to do.
 */
export function idsContinuation(
  journal: IdsJournal,
  originalBody: Buffer,
  { exact = false, cachedTokens = 0 }: IdsContinuationOptions = {},
): Continuation | null {
  if (journal.finished || !journal.isWhole || (exact && !journal.isExact)) return null;
  const fields = parsedObject(originalBody.toString());
  const span = memberSpan(originalBody, 'prompt');
  if (fields === null || span === null) return null;
  const budget = tokenBudget(fields, journal);
  const stops = stopStrings(fields);
  // Which of them it was is told by the final event only.
  if (budget.end === 'word' && stops.length !== 1) return null;
  const original = originalBody.subarray(span.start, span.end);
  const isUnchanged = budget.end !== null || journal.shownTokens === 0;
  const prompt = isUnchanged ? original : continuedPrompt(original, fields['prompt'], journal);
  if (prompt === null) return null;
  const limit = budget.nPredict === null ? [] : [`"n_predict":${budget.nPredict}`];
  return {
    body: withMembers(withMember(originalBody, span, prompt), limit),
    splicer: new IdsSplicer(journal, budget, { cachedTokens, stoppingWord: stops[0] ?? '' }),
  };
}

/**
 * @param json the prompt as it was sent.
 * @returns null for several prompts, and for one that is more than text.
 */
function continuedPrompt(json: Buffer, prompt: unknown, journal: IdsJournal): Buffer | null {
  if (typeof prompt === 'string') return behindText(json, journal);
  if (!Array.isArray(prompt) || prompt.length === 0) return null;
  const parts: unknown[] = prompt;
  if (!parts.every((part) => typeof part === 'string' || typeof part === 'number')) return null;
  if (parts.some((part) => typeof part === 'number')) return joined('', withoutLast(json), `,${journal.asPrompt()}]`);
  // An array without a number is a list of prompts.
  return parts.length === 1 ? behindText(Buffer.from(JSON.stringify(parts[0])), journal) : null;
}

/** Text alone is added to the text: an array of two would be two prompts. */
function behindText(json: Buffer, journal: IdsJournal): Buffer {
  const tokens = journal.asPrompt();
  return journal.isTextOnly ? joined('', withoutLast(json), tokens.slice(1)) : joined('[', json, `,${tokens}]`);
}

function withoutLast(json: Buffer): Buffer {
  return json.subarray(0, -1);
}

function joined(before: string, json: Buffer, behind: string): Buffer {
  return Buffer.concat([Buffer.from(before), json, Buffer.from(behind)]);
}
