import type { EngineRoute } from './routes.ts';

/** What a request will ask of the engine, as far as its body tells. */
export interface RequestWork {
  /** Tokens of the prompt, guessed; the engine tells the number later. */
  readonly promptTokens: number;
  /** Most tokens that one choice may have; null: as many as the context holds. */
  readonly maxTokens: number | null;
  /** Sequences that the engine will work on: choices times prompts. Each takes a slot. */
  readonly sequences: number;
  /** The caller asked for progress of the prompt itself (`return_progress`). */
  readonly wantsProgress: boolean;
}

/** Of a request that has no body. */
export const NO_WORK: RequestWork = { promptTokens: 0, maxTokens: 0, sequences: 1, wantsProgress: false };

/** Bytes of English text in one token, roughly; other languages and JSON have fewer. */
const BYTES_PER_TOKEN = 4;
/** What llama-server puts in where a request to `/v1/messages` has no limit (`tools/server/server-chat.cpp`). */
const MESSAGES_MAX_TOKENS = 4096;
/** Names of the limit of tokens, in the order in which llama-server looks for them (`tools/server/server-schema.cpp`). */
const LIMITS = ['n_predict', 'max_completion_tokens', 'max_tokens'] as const;
const RESPONSES_LIMITS = ['n_predict', 'max_output_tokens'] as const;

type Fields = Readonly<Record<string, unknown>>;

/** Reads the work out of a parsed body of `bodyBytes` bytes. Odd values are the engine's to refuse, and count as absent. */
export function workOf(route: EngineRoute, fields: Fields, bodyBytes: number): RequestWork {
  return {
    promptTokens: Math.ceil(bodyBytes / BYTES_PER_TOKEN),
    maxTokens: route.canStream ? maxTokensOf(route, fields) : 0,
    sequences: route.needsSlot ? sequencesOf(fields) : 1,
    wantsProgress: fields['return_progress'] === true,
  };
}

function maxTokensOf(route: EngineRoute, fields: Fields): number | null {
  for (const name of route.dialect === 'responses' ? RESPONSES_LIMITS : LIMITS) {
    const value = fields[name];
    if (typeof value === 'number') return value >= 0 ? Math.floor(value) : null;
  }
  return route.dialect === 'messages' ? MESSAGES_MAX_TOKENS : null;
}

function sequencesOf(fields: Fields): number {
  const choices = fields['n_cmpl'] ?? fields['n'];
  const count = typeof choices === 'number' && choices >= 1 ? Math.floor(choices) : 1;
  return count * Math.max(1, promptsOf(fields));
}

function promptsOf(fields: Fields): number {
  const { documents, texts } = fields;
  if (Array.isArray(documents)) return documents.length;
  if (Array.isArray(texts)) return texts.length;
  const input = fields['prompt'] ?? fields['input'] ?? fields['content'];
  // An array that holds a number is one prompt, of token ids.
  return Array.isArray(input) && !input.some((part) => typeof part === 'number') ? input.length : 1;
}
