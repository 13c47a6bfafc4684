import { nativeChunk, nativeFinal, randomId, replyText, timings, usage, type Reply, type ReplyToken } from './reply.ts';

/** The generating routes, by how their bodies look. */
export type FakeDialect = 'chat' | 'completions' | 'completion' | 'responses' | 'messages';

/** How one route writes an answer: as frames of a stream, or as one object. Recorded from llama-server v0.5.0. */
export interface DialectWriter {
  /** Frames before the first token. */
  readonly open: (reply: Reply) => string[];
  /** Frame of one token. */
  readonly token: (reply: Reply, token: ReplyToken) => string[];
  /** Frames after the last token. */
  readonly close: (reply: Reply) => string[];
  /** Frame that tells how much of the prompt is read, where the route has one. */
  readonly progress: (reply: Reply, processed: number) => string[];
  /** The body of a non-streaming answer. */
  readonly whole: (reply: Reply) => Record<string, unknown>;
}

const DONE = 'data: [DONE]\n\n';

/** Frame of a stream without event names. */
function data(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

/** Frame of a stream whose events carry their type as name too. */
function event(value: { type: string }): string {
  return `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`;
}

const noFrames = (): string[] => [];

const chat: DialectWriter = {
  open: (reply) => [data(chatChunk(reply, { role: 'assistant', content: null }))],
  token: (reply, token) => [data(chatChunk(reply, { content: token.text }, null, token))],
  close: (reply) => {
    const last = chatChunk(reply, {}, reply.finishReason);
    const verbose = reply.options.verbose ? { __verbose: nativeFinal(reply) } : {};
    if (!reply.options.includeUsage) return [data({ ...last, timings: timings(reply), ...verbose }), DONE];
    const counted = { ...last, choices: [], usage: usage(reply), timings: timings(reply), ...verbose };
    return [data(last), data(counted), DONE];
  },
  progress: (reply, processed) => [
    data({
      ...chatChunk(reply, { role: 'assistant', content: null }),
      prompt_progress: { total: reply.promptTokens, cache: 0, processed, time_ms: Math.round(reply.promptMs) },
    }),
  ],
  whole: (reply) => ({
    choices: [
      {
        finish_reason: reply.finishReason,
        index: 0,
        message: { role: 'assistant', content: reply.prefix + replyText(reply) },
        ...(reply.options.logprobs ? { logprobs: { content: reply.tokens.map(logprob) } } : {}),
      },
    ],
    created: reply.created,
    model: reply.model,
    system_fingerprint: 'b1-de3ff81',
    object: 'chat.completion',
    usage: usage(reply),
    id: reply.id,
    ...(reply.options.verbose ? { __verbose: nativeFinal(reply) } : {}),
    timings: timings(reply),
  }),
};

function chatChunk(
  reply: Reply,
  delta: object,
  finishReason: string | null = null,
  token?: ReplyToken,
): Record<string, unknown> {
  const logprobs = reply.options.logprobs && token !== undefined ? { logprobs: { content: [logprob(token)] } } : {};
  return {
    choices: [{ finish_reason: finishReason, index: 0, delta, ...logprobs }],
    created: reply.created,
    id: reply.id,
    model: reply.model,
    system_fingerprint: 'b1-de3ff81',
    object: 'chat.completion.chunk',
  };
}

function logprob({ id, text }: ReplyToken): Record<string, unknown> {
  const entry = { id, token: text, bytes: [...Buffer.from(text)], logprob: -0.01 };
  return { ...entry, top_logprobs: [entry] };
}

const completions: DialectWriter = {
  open: noFrames,
  token: (reply, token) => [
    data({
      ...textChunk(reply, token.text, null),
      id: reply.id,
      ...(reply.options.verbose ? { __verbose: nativeChunk(reply, token) } : {}),
    }),
  ],
  close: (reply) => [data(textFinal(reply, '')), DONE],
  progress: noFrames,
  whole: (reply) => textFinal(reply, replyText(reply)),
};

function textChunk(reply: Reply, text: string, finishReason: string | null): Record<string, unknown> {
  return {
    choices: [{ text, index: 0, logprobs: null, finish_reason: finishReason }],
    created: reply.created,
    model: reply.model,
    system_fingerprint: 'b1-de3ff81',
    object: 'text_completion',
  };
}

function textFinal(reply: Reply, text: string): Record<string, unknown> {
  return {
    ...textChunk(reply, text, reply.finishReason),
    usage: usage(reply),
    id: reply.id,
    ...(reply.options.verbose ? { __verbose: nativeFinal(reply) } : {}),
    timings: timings(reply),
  };
}

const completion: DialectWriter = {
  open: noFrames,
  token: (reply, token) => [data(nativeChunk(reply, token))],
  close: (reply) => [data(nativeFinal(reply))],
  progress: (reply, processed) => [
    data({
      ...nativeChunk(reply, { id: 0, text: '' }),
      tokens: [],
      prompt_progress: { total: reply.promptTokens, cache: 0, processed, time_ms: Math.round(reply.promptMs) },
    }),
  ],
  whole: nativeFinal,
};

const responses: DialectWriter = {
  open: (reply) => {
    const response = { id: responseId(reply), object: 'response', status: 'in_progress' };
    const item = { content: [], id: itemId(reply), role: 'assistant', status: 'in_progress', type: 'message' };
    return [
      event(typed('response.created', { response })),
      event(typed('response.in_progress', { response })),
      event(typed('response.output_item.added', { item })),
      event(typed('response.content_part.added', { item_id: itemId(reply), part: { type: 'output_text', text: '' } })),
    ];
  },
  token: (reply, { text }) => [event(typed('response.output_text.delta', { item_id: itemId(reply), delta: text }))],
  close: (reply) => {
    const [item] = responseOutput(reply);
    return [
      event(typed('response.output_text.done', { item_id: itemId(reply), text: replyText(reply) })),
      event(typed('response.content_part.done', { item_id: itemId(reply), part: outputText(reply) })),
      event(typed('response.output_item.done', { item })),
      event(typed('response.completed', { response: responseObject(reply), timings: timings(reply) })),
    ];
  },
  progress: noFrames,
  whole: (reply) => ({ completed_at: reply.created, ...responseObject(reply) }),
};

function typed<Type extends string, Fields extends object>(type: Type, fields: Fields): { type: Type } & Fields {
  return { type, ...fields };
}

function responseId(reply: Reply): string {
  return reply.id.replace('chatcmpl-', 'resp_');
}

function itemId(reply: Reply): string {
  return reply.id.replace('chatcmpl-', 'msg_');
}

function outputText(reply: Reply): Record<string, unknown> {
  return { type: 'output_text', annotations: [], logprobs: [], text: replyText(reply) };
}

function responseOutput(reply: Reply): Array<Record<string, unknown>> {
  return [{ type: 'message', status: 'completed', id: itemId(reply), content: [outputText(reply)], role: 'assistant' }];
}

function responseObject(reply: Reply): Record<string, unknown> {
  return {
    id: responseId(reply),
    object: 'response',
    created_at: reply.created,
    status: 'completed',
    model: reply.model,
    output: responseOutput(reply),
    usage: {
      input_tokens: reply.promptTokens,
      output_tokens: reply.tokens.length,
      total_tokens: reply.promptTokens + reply.tokens.length,
      input_tokens_details: { cached_tokens: 0 },
    },
  };
}

const messages: DialectWriter = {
  open: (reply) => [
    event(
      typed('message_start', { message: { ...message(reply, []), stop_reason: null, usage: messageUsage(reply, 0) } }),
    ),
    event(typed('content_block_start', { index: 0, content_block: { type: 'text', text: '' } })),
  ],
  token: (_reply, { text }) => [event(typed('content_block_delta', { index: 0, delta: { type: 'text_delta', text } }))],
  close: (reply) => [
    event(typed('content_block_stop', { index: 0 })),
    event(
      typed('message_delta', {
        delta: { stop_reason: stopReason(reply), stop_sequence: null },
        usage: { output_tokens: reply.tokens.length },
      }),
    ),
    event({ type: 'message_stop' }),
  ],
  progress: noFrames,
  whole: (reply) => message(reply, [{ type: 'text', text: replyText(reply) }]),
};

function message(reply: Reply, content: object[]): Record<string, unknown> {
  return {
    id: reply.id,
    type: 'message',
    role: 'assistant',
    content,
    model: reply.model,
    stop_reason: stopReason(reply),
    stop_sequence: null,
    usage: messageUsage(reply, reply.tokens.length),
  };
}

function messageUsage(reply: Reply, outputTokens: number): Record<string, number> {
  return { cache_read_input_tokens: 0, input_tokens: reply.promptTokens, output_tokens: outputTokens };
}

function stopReason(reply: Reply): string {
  return reply.finishReason === 'stop' ? 'end_turn' : 'max_tokens';
}

/** The writer of each dialect. */
export const DIALECTS: Record<FakeDialect, DialectWriter> = { chat, completions, completion, responses, messages };

/** A fresh id for an answer. */
export function newReplyId(): string {
  return randomId('chatcmpl-');
}
