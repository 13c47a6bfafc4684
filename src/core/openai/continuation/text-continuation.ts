import { memberSpan, withMember, withMembers } from './body-member.ts';
import { canContinueText, hasSeveral, isConstrained } from './continuation-plan.ts';
import type { Continuation } from './continuation.ts';
import { isRecord, parsedObject } from './json-bytes.ts';
import type { TextDialect, TextJournal } from './text-journal.ts';
import { TextSplicer } from './text-splicer.ts';
import { tokenBudget } from './token-budget.ts';

/** What else is known of the stream that broke. */
export interface TextContinuationOptions {
  /** Tokens of the original prompt, where its engine told (`prompt_progress`). Default null: not known. */
  readonly promptTokens?: number | null;
  /** Of these, found in the cache. Default 0. */
  readonly cachedTokens?: number;
}

/**
 * The request that goes on behind the text that was shown: a prompt with the text added, or a chat whose last message is the
 * answer so far (`continue_final_message`, `tools/server/server-common.cpp` of llama.cpp).
 * @param originalBody as the first engine had it, without what llamero asked for itself.
 * @returns null where the request or the stream cannot be continued so, or only the formal end is missing: see {@link formalEnd}.
 */
export function textContinuation(
  journal: TextJournal,
  originalBody: Buffer,
  dialect: TextDialect,
  { promptTokens = null, cachedTokens = 0 }: TextContinuationOptions = {},
): Continuation | null {
  if (journal.finished || !journal.isPlain) return null;
  const fields = parsedObject(originalBody.toString());
  if (fields === null || isConstrained(fields) || hasSeveral(fields) || !canContinueText(dialect, fields)) return null;
  const budget = tokenBudget(fields, journal);
  const body = budget.end === null && !journal.isEmpty ? behindText(journal, originalBody, dialect) : originalBody;
  if (body === null) return null;
  const limit = budget.nPredict === null ? [] : [`"n_predict":${budget.nPredict}`];
  return {
    body: withMembers(body, limit),
    splicer: new TextSplicer(journal, dialect, { budget, promptTokens, cachedTokens }),
  };
}

/**
 * What is missing of a stream whose finish was seen but not its end: the chunk with the usage, where it was asked for, and
 * `[DONE]`. No engine is needed for it.
 */
export function formalEnd(
  journal: TextJournal,
  originalBody: Buffer,
  { promptTokens = null, cachedTokens = 0 }: TextContinuationOptions = {},
): Buffer {
  if (journal.ended) return Buffer.alloc(0);
  const options = parsedObject(originalBody.toString())?.['stream_options'];
  const wantsUsage = isRecord(options) && options['include_usage'] === true;
  const done = 'data: [DONE]\n\n';
  if (!wantsUsage || journal.hasUsage || promptTokens === null) return Buffer.from(done);
  const usage = {
    completion_tokens: journal.shownTokens,
    prompt_tokens: promptTokens,
    total_tokens: promptTokens + journal.shownTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
  const { id, created, model, fingerprint } = journal.head ?? {
    id: null,
    created: null,
    model: null,
    fingerprint: null,
  };
  const object = 'chat.completion.chunk';
  const chunk = { choices: [], created, id, model, system_fingerprint: fingerprint, object, usage };
  return Buffer.from(`data: ${JSON.stringify(chunk)}\n\n${done}`);
}

function behindText(journal: TextJournal, body: Buffer, dialect: TextDialect): Buffer | null {
  const isChat = dialect === 'chat';
  const span = memberSpan(body, isChat ? 'messages' : 'prompt');
  if (span === null) return null;
  // Without the bracket or the quote at its end.
  const original = body.subarray(span.start, span.end - 1);
  if (!isChat) return withMember(body, span, joined([original, journal.text.view(), '"']));
  const parts = [original, ',{"role":"assistant","content":"', journal.text.view()];
  if (journal.reasoning.length > 0) parts.push('","reasoning_content":"', journal.reasoning.view());
  const messages = joined([...parts, '"}]']);
  return withMembers(withMember(body, span, messages), [
    '"continue_final_message":true',
    '"add_generation_prompt":false',
  ]);
}

function joined(parts: readonly (Buffer | string)[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
}
