import { randomUUID } from 'node:crypto';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { LlameroError } from '../core/errors.ts';
import { elementCount, layoutGguf, type GgufLayout, type GgufValue } from './gguf-encoder.ts';
import { TINY_CHAT_TEMPLATE } from './tiny-chat-template.ts';
import { buildTinyVocabulary, SMALLEST_VOCABULARY, type TinyTokenIds, type TinyVocabulary } from './tiny-vocabulary.ts';
import { TINY_HEAD_LENGTH, tinyWeights, type TinyShape, type WeightTensor } from './tiny-weights.ts';

/** Options of {@link writeTinyModel}. The same options give the same bytes on every platform. */
export interface TinyModelOptions {
  /**
   * `tiny` (default): 0.6 MB, thousands of tokens per second. `slow`: the same text at about 50 tokens per second on two
   * cores, for windows in which something can be made to fail; see `ballastBytes`.
   */
  preset?: 'tiny' | 'slow';
  /** Seed of the weights, a 32-bit unsigned integer. Default 1. */
  seed?: number;
  /** Transformer layers, 1 to 64. Default 2. */
  layers?: number;
  /** Width of the embedding vectors, a multiple of 32, 64 to 2048. Default 64. */
  embedding?: number;
  /** Context length that the metadata state, in tokens. Default 8192. */
  context?: number;
  /** Number of tokens, 448 (default) to 131072. */
  vocabulary?: number;
  /**
   * Bytes of additional feed-forward weights that are all zero: they change no output but cost the engine the time of
   * reading and multiplying them for every token. They are a hole in the file where the file system has holes, so that they
   * take neither disk space nor time to write. Default 0, and 340 MB with preset `slow`.
   */
  ballastBytes?: number;
  /** The `general.name` of the model. Default `llamero-tiny`. */
  name?: string;
  /** `llama.pooling_type`: how llama-server pools embeddings unless told with `--pooling`. Default `mean`; null leaves it out. */
  pooling?: 'mean' | 'cls' | 'last' | null;
  /** Cancels the writing; nothing is left behind. */
  signal?: AbortSignal;
}

/** What was written. */
export interface TinyModelFacts {
  readonly path: string;
  readonly fileBytes: number;
  readonly name: string;
  readonly architecture: 'llama';
  /** Number of weights, ballast included. */
  readonly parameters: number;
  readonly layers: number;
  readonly embedding: number;
  readonly heads: number;
  readonly context: number;
  readonly vocabulary: number;
  readonly seed: number;
  readonly chatTemplate: string;
  readonly tokens: TinyTokenIds;
}

const POOLING_IDS = { mean: 1, cls: 2, last: 3 } as const;
/** `llama_token_type` of llama.h. */
const TOKEN_TYPE_IDS = { normal: 1, control: 3, tag: 4 } as const;
const SLOW_BALLAST_BYTES = 340_000_000;

/**
 * Writes a small but complete GGUF (version 3, architecture `llama`, float32) with seeded random weights, which
 * llama-server loads like any other: chat with tools, completion, grammar, embeddings. Its output is noise made of
 * readable syllables, never ends by itself unless a grammar makes it, and is the same on every greedy run.
 * The file appears under `path` only when it is whole.
 * @throws LlameroError `invalid_options` for an impossible option; `cancelled` when `signal` aborts.
 */
export async function writeTinyModel(path: string, options: TinyModelOptions = {}): Promise<TinyModelFacts> {
  const plan = planModel(options);
  const vocabulary = buildTinyVocabulary(plan.vocabulary);
  const tensors = tinyWeights(plan.shape, vocabulary, plan.seed);
  const layout = layoutGguf(metadata(plan, vocabulary), tensors);
  await writeAtomically(path, layout, tensors, options.signal);
  return {
    path,
    fileBytes: layout.fileBytes,
    name: plan.name,
    architecture: 'llama',
    parameters: tensors.reduce((sum, tensor) => sum + elementCount(tensor), 0),
    layers: plan.shape.layers,
    embedding: plan.shape.embedding,
    heads: plan.shape.heads,
    context: plan.context,
    vocabulary: plan.vocabulary,
    seed: plan.seed,
    chatTemplate: TINY_CHAT_TEMPLATE,
    tokens: vocabulary.ids,
  };
}

interface ModelPlan {
  readonly name: string;
  readonly seed: number;
  readonly context: number;
  readonly vocabulary: number;
  readonly pooling: keyof typeof POOLING_IDS | null;
  readonly shape: TinyShape;
}

function planModel(options: TinyModelOptions): ModelPlan {
  const layers = integer('layers', options.layers ?? 2, 1, 64);
  const embedding = integer('embedding', options.embedding ?? 64, 64, 2048);
  if (embedding % TINY_HEAD_LENGTH !== 0) refuse('embedding', `a multiple of ${TINY_HEAD_LENGTH}`, embedding);
  const ballastBytes = options.ballastBytes ?? (options.preset === 'slow' ? SLOW_BALLAST_BYTES : 0);
  integer('ballastBytes', ballastBytes, 0, 2 ** 40);
  // Three matrices of `embedding` float32 values per unit and layer; rows stay multiples of 32 for the engine's kernels.
  const ballast = Math.round(ballastBytes / (layers * embedding * 12) / 32) * 32;
  return {
    name: options.name ?? 'llamero-tiny',
    seed: integer('seed', options.seed ?? 1, 0, 0xffff_ffff),
    context: integer('context', options.context ?? 8192, 64, 0x7fff_ffff),
    vocabulary: integer('vocabulary', options.vocabulary ?? SMALLEST_VOCABULARY, SMALLEST_VOCABULARY, 131_072),
    pooling: options.pooling === undefined ? 'mean' : options.pooling,
    shape: { layers, embedding, heads: embedding / TINY_HEAD_LENGTH, feedForward: 2 * embedding, ballast },
  };
}

function integer(option: string, value: number, least: number, most: number): number {
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    refuse(option, `a whole number from ${least} to ${most}`, value);
  }
  return value;
}

function refuse(option: string, expected: string, came: unknown): never {
  throw new LlameroError('invalid_options', `${option}: expected ${expected}, came ${String(came)}`, { param: option });
}

function metadata(plan: ModelPlan, { tokens, merges, ids }: TinyVocabulary): Map<string, GgufValue> {
  const { shape } = plan;
  const entries: Array<[string, GgufValue]> = [
    ['general.architecture', text('llama')],
    ['general.name', text(plan.name)],
    ['general.file_type', u32(0)],
    ['llama.block_count', u32(shape.layers)],
    ['llama.context_length', u32(plan.context)],
    ['llama.embedding_length', u32(shape.embedding)],
    ['llama.feed_forward_length', u32(shape.feedForward + shape.ballast)],
    ['llama.attention.head_count', u32(shape.heads)],
    ['llama.attention.head_count_kv', u32(shape.heads)],
    ['llama.attention.layer_norm_rms_epsilon', { type: 'f32', value: 1e-5 }],
    ['llama.rope.dimension_count', u32(TINY_HEAD_LENGTH)],
    ['llama.rope.freq_base', { type: 'f32', value: 1_000_000 }],
    ['llama.vocab_size', u32(tokens.length)],
    ['tokenizer.ggml.model', text('gpt2')],
    ['tokenizer.ggml.pre', text('qwen2')],
    ['tokenizer.ggml.tokens', { type: 'strings', value: tokens.map((token) => token.text) }],
    ['tokenizer.ggml.token_type', { type: 'i32s', value: tokens.map((token) => TOKEN_TYPE_IDS[token.kind]) }],
    ['tokenizer.ggml.merges', { type: 'strings', value: merges }],
    ['tokenizer.ggml.bos_token_id', u32(ids.bos)],
    ['tokenizer.ggml.eos_token_id', u32(ids.endOfTurn)],
    ['tokenizer.ggml.padding_token_id', u32(ids.padding)],
    ['tokenizer.ggml.fim_pre_token_id', u32(ids.infillPrefix)],
    ['tokenizer.ggml.fim_suf_token_id', u32(ids.infillSuffix)],
    ['tokenizer.ggml.fim_mid_token_id', u32(ids.infillMiddle)],
    ['tokenizer.ggml.add_bos_token', { type: 'bool', value: true }],
    ['tokenizer.chat_template', text(TINY_CHAT_TEMPLATE)],
  ];
  if (plan.pooling !== null) entries.push(['llama.pooling_type', u32(POOLING_IDS[plan.pooling])]);
  return new Map(entries);
}

function u32(value: number): GgufValue {
  return { type: 'u32', value };
}

function text(value: string): GgufValue {
  return { type: 'string', value };
}

async function writeAtomically(
  path: string,
  layout: GgufLayout,
  tensors: readonly WeightTensor[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const temporary = `${path}.${randomUUID()}.partial`;
  try {
    const file = await open(temporary, 'wx');
    try {
      await file.truncate(layout.fileBytes);
      await writeAt(file, layout.head, 0);
      for (const tensor of tensors) {
        if (signal?.aborted)
          throw new LlameroError('cancelled', 'Writing the model was cancelled.', { cause: signal.reason });
        const start = layout.positions.get(tensor.name)!;
        for (const { offset, values } of tensor.runs()) {
          await writeAt(file, littleEndian(values), start + offset * Float32Array.BYTES_PER_ELEMENT);
        }
      }
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function writeAt(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}

const HOST_IS_LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

function littleEndian(values: Float32Array<ArrayBuffer>): Buffer {
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  return HOST_IS_LITTLE_ENDIAN ? bytes : Buffer.from(bytes).swap32();
}
