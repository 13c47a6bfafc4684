import { createHash } from 'node:crypto';
import { z } from 'zod';
import { TINY_CHAT_TEMPLATE } from '../tiny-chat-template.ts';
import type { FakeServerArguments } from './arguments.ts';
import { BadRequest } from './prompt.ts';
import type { FakeServerCounters } from './settings.ts';
import type { SlotWork } from './slot-queue.ts';
import type { TokenSource } from './tokens.ts';

/** The JSON documents of the routes that generate nothing, as llama-server v0.5.0 shapes them. */

const EMBEDDING_LENGTH = 16;

/** `GET /props`. */
export function props({ alias, model, slots, contextLength }: FakeServerArguments): Record<string, unknown> {
  return {
    default_generation_settings: { params: { temperature: 0.8, max_tokens: -1, n_predict: -1 }, n_ctx: contextLength },
    total_slots: slots,
    model_alias: alias,
    model_ftype: 'all F32',
    model_path: model,
    modalities: { vision: false, video: false, audio: false },
    media_marker: '<__media__>',
    endpoint_slots: true,
    endpoint_props: false,
    endpoint_metrics: true,
    ui: false,
    ui_settings: {},
    chat_template: TINY_CHAT_TEMPLATE,
    chat_template_caps: {},
    bos_token: '<|begin|>',
    eos_token: '<|im_end|>',
    build_info: 'b1-de3ff81',
    is_sleeping: false,
    cors_proxy_enabled: false,
  };
}

/** `GET /v1/models`. */
export function models({ alias, contextLength }: FakeServerArguments): Record<string, unknown> {
  const meta = { vocab_type: 2, n_vocab: 448, n_ctx: contextLength, n_ctx_train: 8192, n_embd: EMBEDDING_LENGTH };
  const entry = { id: alias, aliases: [alias], tags: [], object: 'model', created: Math.floor(Date.now() / 1000) };
  return {
    models: [{ name: alias, model: alias, type: 'model', capabilities: ['completion'], details: { format: 'gguf' } }],
    object: 'list',
    data: [{ ...entry, owned_by: 'llamacpp', meta: { ...meta, n_params: 139_584, size: 558_336, ftype: 'all F32' } }],
  };
}

/** `GET /slots`. */
export function slotList(
  { contextLength }: FakeServerArguments,
  busy: readonly boolean[],
  work: ReadonlyArray<SlotWork | null>,
): Array<Record<string, unknown>> {
  return busy.map((processing, id) => {
    const slot = { id, n_ctx: contextLength, speculative: false, is_processing: processing };
    const present = work[id] ?? null;
    if (present === null) return slot;
    const { task, promptTokens, decoded } = present;
    return {
      ...slot,
      id_task: task,
      n_prompt_tokens: promptTokens + decoded,
      n_prompt_tokens_processed: promptTokens,
      n_prompt_tokens_cache: 0,
      params: {},
      next_token: [{ has_next_token: processing, has_new_line: false, n_remain: -1, n_decoded: decoded }],
    };
  });
}

/** `GET /metrics`. */
export function metrics({ tokens, active, waiting }: FakeServerCounters): string {
  return [
    metric('tokens_predicted_total', 'counter', 'Number of generation tokens processed', tokens),
    metric('requests_processing', 'gauge', 'Number of requests processing', active),
    metric('requests_deferred', 'gauge', 'Number of requests deferred', waiting),
  ].join('');
}

function metric(name: string, type: string, help: string, value: number): string {
  return `# HELP llamacpp:${name} ${help}\n# TYPE llamacpp:${name} ${type}\nllamacpp:${name} ${value}\n`;
}

/** `POST /tokenize`. */
export function tokenize(body: unknown, tokens: TokenSource): Record<string, unknown> {
  const { content = '', with_pieces: pieces = false } = read(
    z.looseObject({ content: z.string().optional(), with_pieces: z.boolean().optional() }),
    body,
  );
  const ids = tokens.tokenize(content);
  return { tokens: pieces ? ids.map((id) => ({ id, piece: tokens.detokenize([id]) })) : ids };
}

/** `POST /detokenize`. */
export function detokenize(body: unknown, tokens: TokenSource): Record<string, unknown> {
  const { tokens: ids = [] } = read(z.looseObject({ tokens: z.array(z.number().int()).optional() }), body);
  return { content: tokens.detokenize(ids) };
}

/** `POST /v1/embeddings` and `POST /embedding`: unit vectors that depend on the text alone. */
export function embeddings(
  { alias }: FakeServerArguments,
  body: unknown,
  tokens: TokenSource,
  openai: boolean,
): Record<string, unknown> | Array<Record<string, unknown>> {
  const texts = z.union([z.string(), z.array(z.string())]).optional();
  const { input, content } = read(z.looseObject({ input: texts, content: texts }), body);
  const wanted = input ?? content;
  if (wanted === undefined) throw new BadRequest('"input" or "content" must be provided');
  const list = [wanted].flat();
  if (!openai) return list.map((text, index) => ({ index, embedding: [vector(text)] }));
  const count = list.reduce((sum, text) => sum + tokens.tokenize(text).length, 0);
  return {
    model: alias,
    object: 'list',
    usage: { prompt_tokens: count, total_tokens: count },
    data: list.map((text, index) => ({ embedding: vector(text), index, object: 'embedding' })),
  };
}

/** `POST /rerank`: the more words a document shares with the query, the higher. */
export function rerank({ alias }: FakeServerArguments, body: unknown, tokens: TokenSource): Record<string, unknown> {
  const { query, documents } = read(z.looseObject({ query: z.string(), documents: z.array(z.string()) }), body);
  const words = new Set(query.split(/\s+/u));
  const score = (text: string): number => text.split(/\s+/u).filter((word) => words.has(word)).length;
  const results = documents.map((text, index) => ({ index, relevance_score: score(text) }));
  const count = documents.reduce((sum, text) => sum + tokens.tokenize(query + text).length, 0);
  return {
    model: alias,
    object: 'list',
    usage: { prompt_tokens: count, total_tokens: count },
    results: results.toSorted((a, b) => b.relevance_score - a.relevance_score),
  };
}

function vector(text: string): number[] {
  const raw = [...createHash('sha256').update(text).digest().subarray(0, EMBEDDING_LENGTH)].map((byte) => byte - 127.5);
  const length = Math.hypot(...raw);
  return raw.map((value) => value / length);
}

function read<Schema extends z.ZodType>(schema: Schema, body: unknown): z.output<Schema> {
  const result = schema.safeParse(body);
  if (!result.success) throw new BadRequest(z.prettifyError(result.error));
  return result.data;
}
