import { randomBytes } from 'node:crypto';

/** A generated token. */
export interface ReplyToken {
  readonly id: number;
  readonly text: string;
}

/** An answer while it is generated: all that the wire formats need to know of it. */
export interface Reply {
  readonly id: string;
  readonly created: number;
  readonly model: string;
  /** Text of the prompt as the model sees it. */
  readonly prompt: string;
  readonly promptTokens: number;
  readonly slot: number;
  readonly maxTokens: number;
  readonly stream: boolean;
  /** Text that a non-streaming chat answer repeats before its own (`continue_final_message`). */
  readonly prefix: string;
  readonly options: ReplyOptions;
  readonly tokens: ReplyToken[];
  finishReason: 'stop' | 'length';
  promptMs: number;
  predictedMs: number;
}

/** Fields of the request that shape the answer. */
export interface ReplyOptions {
  readonly verbose: boolean;
  readonly logprobs: boolean;
  readonly includeUsage: boolean;
  readonly returnProgress: boolean;
  readonly returnTokens: boolean;
}

/** An id as llama-server makes them: a prefix and 32 letters or digits. */
export function randomId(prefix: string): string {
  return prefix + randomBytes(24).toString('base64url').replaceAll(/[-_]/g, 'x').slice(0, 32);
}

/** The text generated so far. */
export function replyText(reply: Reply): string {
  return reply.tokens.map((token) => token.text).join('');
}

/** The `timings` object. */
export function timings(reply: Reply): Record<string, number> {
  const { promptMs, predictedMs, promptTokens, tokens } = reply;
  return {
    cache_n: 0,
    prompt_n: promptTokens,
    prompt_ms: promptMs,
    prompt_per_token_ms: per(promptMs, promptTokens),
    prompt_per_second: perSecond(promptMs, promptTokens),
    predicted_n: tokens.length,
    predicted_ms: predictedMs,
    predicted_per_token_ms: per(predictedMs, tokens.length),
    predicted_per_second: perSecond(predictedMs, tokens.length),
  };
}

/** The `usage` object of OpenAI's formats. */
export function usage({ tokens, promptTokens }: Reply): Record<string, unknown> {
  return {
    completion_tokens: tokens.length,
    prompt_tokens: promptTokens,
    total_tokens: promptTokens + tokens.length,
    prompt_tokens_details: { cached_tokens: 0 },
  };
}

/** One chunk of the native format, also the `__verbose` of others. */
export function nativeChunk(reply: Reply, token: ReplyToken): Record<string, unknown> {
  return {
    index: 0,
    content: token.text,
    tokens: [token.id],
    stop: false,
    id_slot: -1,
    tokens_predicted: reply.tokens.length,
    tokens_evaluated: reply.promptTokens,
  };
}

/** The last chunk of the native format (streaming: without content), also the `__verbose` of others. */
export function nativeFinal(reply: Reply): Record<string, unknown> {
  return {
    index: 0,
    content: reply.stream ? '' : replyText(reply),
    tokens: reply.options.returnTokens && !reply.stream ? reply.tokens.map((token) => token.id) : [],
    id_slot: reply.slot,
    stop: true,
    model: reply.model,
    tokens_predicted: reply.tokens.length,
    tokens_evaluated: reply.promptTokens,
    generation_settings: {
      temperature: 0,
      max_tokens: reply.maxTokens,
      n_predict: reply.maxTokens,
      stream: reply.stream,
    },
    prompt: reply.prompt,
    has_new_line: false,
    truncated: false,
    stop_type: reply.finishReason === 'stop' ? 'eos' : 'limit',
    stopping_word: '',
    tokens_cached: reply.promptTokens + reply.tokens.length - 1,
    timings: timings(reply),
  };
}

function per(ms: number, count: number): number {
  return count === 0 ? 0 : ms / count;
}

function perSecond(ms: number, count: number): number {
  return ms === 0 ? 0 : (count * 1000) / ms;
}
