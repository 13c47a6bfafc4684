import { z } from 'zod';
import { clientOptionsSchema } from '../admission/client-options.ts';
import { LlameroError } from '../errors.ts';

/** Options that every call of the provider takes. */
const callShape = {
  /** Ends the call; the engine's slot is free within 100 ms. */
  signal: z.instanceof(AbortSignal).optional(),
  /** Limit for the whole call in ms. Default: none. */
  timeout: z.number().int().min(1).max(2_147_483_647).optional(),
  /** How a stream goes on whose engine was lost. Default: `streamContinuation` of the configuration. */
  continuation: z.enum(['fast', 'exact', 'off']).optional(),
  /** `complete`: the parts of a stream come together, when the answer is complete, and valid JSON where that was asked for. */
  commit: z.literal('complete').optional(),
  /** On whose behalf the call is made. */
  client: clientOptionsSchema.optional(),
  /** Further fields of the request body, as llama-server understands them. */
  extra: z.record(z.string(), z.unknown()).optional(),
};

const samplingShape = {
  /** Tokens to generate at most. Default: until the model ends or the context is full. */
  maxTokens: z.number().int().min(1).optional(),
  temperature: z.number().min(0).optional(),
  topP: z.number().min(0).max(1).optional(),
  topK: z.number().int().min(0).optional(),
  minP: z.number().min(0).max(1).optional(),
  /** Same seed, same settings, same engine: same answer. */
  seed: z.number().int().min(-1).max(4_294_967_295).optional(),
  /** Texts that end the answer; not part of it. */
  stop: z.union([z.string(), z.array(z.string())]).optional(),
  /** JSON Schema that the answer must fit. */
  jsonSchema: z.record(z.string(), z.unknown()).optional(),
};

const callSchema = z.strictObject(callShape);
const generateSchema = z.strictObject({
  ...callShape,
  ...samplingShape,
  /** GBNF grammar that the answer must fit. */
  grammar: z.string().min(1).optional(),
});
const chatSchema = z.strictObject({
  ...callShape,
  ...samplingShape,
  tools: z.array(z.unknown()).optional(),
  tool_choice: z.unknown().optional(),
  response_format: z.record(z.string(), z.unknown()).optional(),
});
const rerankSchema = z.strictObject({ ...callShape, topN: z.number().int().min(1).optional() });

export type CallOptions = z.input<typeof callSchema>;
export type GenerateOptions = z.input<typeof generateSchema>;
export type ChatOptions = z.input<typeof chatSchema>;
export type RerankOptions = z.input<typeof rerankSchema>;

/** One message of a chat; content as text or as the parts that llama-server understands (text, image_url, input_audio). */
export interface ChatMessage {
  role: string;
  content?: string | null | readonly Record<string, unknown>[];
  [field: string]: unknown;
}

/** @throws LlameroError `invalid_options` that names the option. */
export const parseCallOptions = (options: CallOptions = {}): CallOptions => parse(callSchema, options);
/** @throws LlameroError `invalid_options` that names the option. */
export const parseGenerateOptions = (options: GenerateOptions = {}): GenerateOptions => parse(generateSchema, options);
/** @throws LlameroError `invalid_options` that names the option. */
export const parseChatOptions = (options: ChatOptions = {}): ChatOptions => parse(chatSchema, options);
/** @throws LlameroError `invalid_options` that names the option. */
export const parseRerankOptions = (options: RerankOptions = {}): RerankOptions => parse(rerankSchema, options);

/** Checks an argument that is not an options object, such as a prompt. @throws LlameroError `invalid_options`. */
export function parseArgument<Schema extends z.ZodType>(
  name: string,
  schema: Schema,
  value: unknown,
): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw invalid(result.error.issues, name);
}

/** Body of a `/completion` stream (llama.cpp `tools/server/README.md`). */
export function completionBody(prompt: string, options: GenerateOptions): Record<string, unknown> {
  return {
    prompt,
    stream: true,
    n_predict: options.maxTokens,
    ...sampling(options),
    grammar: options.grammar,
    json_schema: options.jsonSchema,
    ...options.extra,
  };
}

/** Body of a `/v1/chat/completions` stream. */
export function chatBody(messages: readonly ChatMessage[], options: ChatOptions): Record<string, unknown> {
  const schema = options.jsonSchema;
  return {
    messages,
    stream: true,
    max_tokens: options.maxTokens,
    ...sampling(options),
    tools: options.tools,
    tool_choice: options.tool_choice,
    response_format:
      options.response_format ??
      (schema && { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } }),
    ...options.extra,
  };
}

function sampling(options: GenerateOptions | ChatOptions): Record<string, unknown> {
  const { temperature, topP, topK, minP, seed, stop } = options;
  return { temperature, top_p: topP, top_k: topK, min_p: minP, seed, stop: typeof stop === 'string' ? [stop] : stop };
}

function parse<Schema extends z.ZodType>(schema: Schema, options: unknown): z.output<Schema> {
  const result = schema.safeParse(options);
  if (result.success) return result.data;
  throw invalid(result.error.issues, 'options');
}

function invalid(issues: readonly z.core.$ZodIssue[], root: string): LlameroError {
  const texts = issues.map((issue) => {
    const path = [root === 'options' ? null : root, ...issue.path].filter((key) => key !== null).join('.') || root;
    return issue.code === 'unrecognized_keys' ? `unknown option ${issue.keys.join(', ')}` : `${path}: ${issue.message}`;
  });
  const first = issues[0];
  const named = first?.code === 'unrecognized_keys' ? first.keys[0] : first?.path.join('.') || root;
  return new LlameroError('invalid_options', texts.join('; '), { param: named });
}
