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
  const isChat = dialect === 'chat';
  const continued = journal.isEmpty
    ? originalBody
    : isChat
      ? chat(journal, originalBody)
      : prompt(journal, originalBody);
  if (continued === null) return null;
  const budget = tokenBudget(fields, journal.shownTokens);
  const members = isChat && !journal.isEmpty ? ['"continue_final_message":true', '"add_generation_prompt":false'] : [];
  if (budget.nPredict !== null) members.push(`"n_predict":${budget.nPredict}`);
  return {
    body: withMembers(continued, members),
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

function prompt(journal: TextJournal, body: Buffer): Buffer | null {
  const span = memberSpan(body, 'prompt');
  if (span === null) return null;
  const original = body.subarray(span.start, span.end - 1);
  return withMember(body, span, Buffer.concat([original, journal.text.view(), Buffer.from('"')]));
}

function chat(journal: TextJournal, body: Buffer): Buffer | null {
  const span = memberSpan(body, 'messages');
  if (span === null) return null;
  const parts = [
    body.subarray(span.start, span.end - 1),
    Buffer.from(',{"role":"assistant","content":"'),
    journal.text.view(),
  ];
  if (journal.reasoning.length > 0) parts.push(Buffer.from('","reasoning_content":"'), journal.reasoning.view());
  parts.push(Buffer.from('"}]'));
  return withMember(body, span, Buffer.concat(parts));
}
