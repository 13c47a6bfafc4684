import { z } from 'zod';
import type { FakeDialect } from './dialects.ts';
import type { ReplyOptions, ReplyToken } from './reply.ts';
import { schemaInstance } from './schema-instance.ts';
import type { TokenSource } from './tokens.ts';

/** What a generating request asks for, in the terms of the double. */
export interface FakePrompt {
  readonly ids: number[];
  readonly text: string;
  /** Limit of tokens, or null. */
  readonly maxTokens: number | null;
  readonly stream: boolean;
  /** Content of an assistant message that is to be continued. */
  readonly prefix: string;
  readonly options: ReplyOptions;
  /** What is to be generated instead of counting: the request asks for JSON. */
  readonly script: readonly ReplyToken[] | null;
}

const content = z.union([z.string(), z.array(z.looseObject({ text: z.string().optional() })), z.null()]).optional();
const turns = z.array(z.looseObject({ role: z.string(), content }));
const mixed = z.array(z.union([z.string(), z.number()]));

const body = z.looseObject({
  messages: turns.optional(),
  system: content,
  input: z.union([z.string(), turns]).optional(),
  prompt: z.union([z.string(), mixed]).optional(),
  input_prefix: z.string().optional(),
  max_tokens: z.number().optional(),
  max_completion_tokens: z.number().optional(),
  max_output_tokens: z.number().optional(),
  n_predict: z.number().optional(),
  stream: z.boolean().optional(),
  verbose: z.boolean().optional(),
  logprobs: z.union([z.boolean(), z.number(), z.null()]).optional(),
  return_progress: z.boolean().optional(),
  return_tokens: z.boolean().optional(),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).nullish(),
  continue_final_message: z.boolean().optional(),
  add_generation_prompt: z.boolean().optional(),
  json_schema: z.looseObject({}).optional(),
  response_format: z
    .looseObject({
      type: z.string().optional(),
      schema: z.looseObject({}).optional(),
      json_schema: z.looseObject({ schema: z.looseObject({}).optional() }).optional(),
    })
    .nullish(),
});
type Body = z.output<typeof body>;
type Turn = z.output<typeof turns>[number];

/** A request that the double refuses, as the real server would. */
export class BadRequest extends Error {}

/** Reads the body of a generating request. @throws BadRequest with llama-server's message where a field is missing. */
export function readPrompt(dialect: FakeDialect, raw: unknown, tokens: TokenSource): FakePrompt {
  const parsed = body.safeParse(raw);
  if (!parsed.success) throw new BadRequest(z.prettifyError(parsed.error));
  const fields = parsed.data;
  const input =
    dialect === 'chat' || dialect === 'messages' || dialect === 'responses'
      ? conversation(dialect, fields)
      : plain(fields);
  const ids = typeof input.prompt === 'string' ? tokens.tokenize(input.prompt) : mixedIds(input.prompt, tokens);
  const limit = fields.n_predict ?? fields.max_completion_tokens ?? fields.max_tokens ?? fields.max_output_tokens ?? -1;
  return {
    ids,
    text: tokens.detokenize(ids),
    maxTokens: limit >= 0 ? limit : null,
    stream: fields.stream ?? false,
    prefix: input.prefix,
    script: jsonScript(fields, tokens),
    options: {
      verbose: fields.verbose ?? false,
      logprobs: fields.logprobs === true || typeof fields.logprobs === 'number',
      includeUsage: fields.stream_options?.include_usage ?? false,
      returnProgress: fields.return_progress ?? false,
      returnTokens: fields.return_tokens ?? false,
    },
  };
}

/** The tokens of a small JSON value, if the request asks for JSON. */
function jsonScript({ json_schema: schema, response_format: format }: Body, tokens: TokenSource): ReplyToken[] | null {
  const wanted =
    schema ??
    format?.json_schema?.schema ??
    format?.schema ??
    (format?.type === 'json_object' ? { type: 'object' } : null);
  if (wanted === null) return null;
  return tokens.tokenize(JSON.stringify(schemaInstance(wanted))).map((id) => ({ id, text: tokens.detokenize([id]) }));
}

interface PromptInput {
  readonly prompt: string | ReadonlyArray<string | number>;
  readonly prefix: string;
}

/** The text of a chat by the ChatML template. */
export function applyTemplate(raw: unknown): string {
  const parsed = body.safeParse(raw);
  if (!parsed.success) throw new BadRequest(z.prettifyError(parsed.error));
  return template(messagesOf(parsed.data), parsed.data).prompt;
}

function conversation(dialect: FakeDialect, fields: Body): { prompt: string; prefix: string } {
  if (dialect !== 'responses') return template(messagesOf(fields), fields);
  if (fields.input === undefined) throw new BadRequest("'input' is required");
  const input = typeof fields.input === 'string' ? [{ role: 'user', content: fields.input }] : fields.input;
  return template(input, fields);
}

function messagesOf(fields: Body): Turn[] {
  if (fields.messages === undefined) throw new BadRequest("'messages' is required");
  const system = textOf(fields.system);
  return system === '' ? fields.messages : [{ role: 'system', content: system }, ...fields.messages];
}

function template(messages: readonly Turn[], fields: Body): { prompt: string; prefix: string } {
  const last = messages.at(-1);
  const continued = fields.continue_final_message === true && last?.role === 'assistant';
  const closed = continued ? messages.slice(0, -1) : messages;
  const text = closed.map((turn) => `<|im_start|>${turn.role}\n${textOf(turn.content)}<|im_end|>\n`).join('');
  const prefix = continued ? textOf(last.content) : '';
  const opened = continued || fields.add_generation_prompt !== false ? '<|im_start|>assistant\n' : '';
  return { prompt: text + opened + prefix, prefix };
}

function plain(fields: Body): PromptInput {
  const prompt = fields.prompt ?? fields.input_prefix;
  if (prompt === undefined) throw new BadRequest("'prompt' is required");
  return { prompt, prefix: '' };
}

function mixedIds(parts: ReadonlyArray<string | number>, tokens: TokenSource): number[] {
  return parts.flatMap((part) => (typeof part === 'number' ? [part] : tokens.tokenize(part)));
}

function textOf(value: Turn['content']): string {
  if (typeof value === 'string') return value;
  return (value ?? []).map((part) => part.text ?? '').join('');
}
