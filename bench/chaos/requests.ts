import type { PlannedDialect, PlannedRequest } from './plan.ts';

/** A request of the plan, as it goes over the wire. */
export interface WrittenRequest {
  readonly path: string;
  readonly body: Buffer;
}

const PATHS = {
  chat: '/v1/chat/completions',
  completions: '/v1/completions',
  responses: '/v1/responses',
  messages: '/v1/messages',
  completion: '/completion',
} as const satisfies Record<PlannedDialect, string>;

const TEXTS = ['the river', 'a lost key', 'the llama on the hill', 'seven clocks'];

/** The text of that prompt. */
export function promptText(prompt: number): string {
  return `Tell me of ${TEXTS[prompt % TEXTS.length]}.`;
}

/** What the dialects that apply the chat template answer alike, and what the plain ones do. */
export function isChat(dialect: PlannedDialect): boolean {
  return dialect === 'chat' || dialect === 'responses' || dialect === 'messages';
}

/** Writes the body. The nonce makes every body one of its own: an equal one would be refused after two crashes. */
export function writeRequest(planned: PlannedRequest, nonce: string): WrittenRequest {
  const { kind, dialect, prompt, sequences } = planned;
  const text = promptText(prompt);
  const messages = [{ role: 'user', content: `${text} (${nonce})` }];
  switch (kind) {
    case 'embedding':
      // One prompt after the other, so that vectors that change their places show.
      return written('/v1/embeddings', {
        input: Array.from({ length: sequences }, (_, index) => promptText(prompt + index)),
        user: nonce,
      });
    case 'tokenize':
      return written('/tokenize', { content: `${text} (${nonce})`, with_pieces: true });
    case 'template':
      return written('/apply-template', { messages });
    case 'count':
      return written('/v1/messages/count_tokens', { messages, model: 'any' });
    default:
      return written(PATHS[dialect], generationBody(planned, text, nonce));
  }
}

function generationBody(planned: PlannedRequest, text: string, nonce: string) {
  const { kind, dialect, tokens, probabilities, sequences } = planned;
  const common = {
    user: nonce,
    temperature: 0,
    ignore_eos: true,
    ...(kind === 'whole' ? {} : { stream: true }),
    ...(sequences === 1 ? {} : { n: sequences }),
    ...(probabilities === 0 ? {} : { n_probs: probabilities }),
  };
  switch (dialect) {
    case 'chat':
    case 'messages':
      return { ...common, messages: [{ role: 'user', content: text }], max_tokens: tokens };
    case 'responses':
      return { ...common, input: text, max_output_tokens: tokens };
    case 'completions':
      return { ...common, prompt: text, max_tokens: tokens };
    default:
      return { ...common, prompt: text, n_predict: tokens };
  }
}

function written(path: string, body: Record<string, unknown>): WrittenRequest {
  return { path, body: Buffer.from(JSON.stringify(body)) };
}
