import { GGMLFileQuantizationType } from '@huggingface/gguf';
import type { GGUFParseOutput, MetadataValue } from '@huggingface/gguf';
import { tensorBytes, tensorTypeName } from './ggml-types.ts';

/** What a GGUF says about the model that it holds. */
export interface GgufFacts {
  /** Such as `llama`; decides whether an engine can load it. */
  readonly architecture: string;
  readonly name: string | null;
  /** Weights, counted from the shapes of all tensors. */
  readonly parameters: number;
  /** Such as `Q4_K_M`; from the file's own word, else the type of most of its bytes. */
  readonly quantisation: string;
  readonly layers: number | null;
  /** Attention heads; the largest number where layers differ. */
  readonly heads: number | null;
  /** Key-value heads, layer by layer; 0 for a layer without attention. Null when the file does not tell. */
  readonly kvHeads: readonly number[] | null;
  /** Elements of one key and of one value of a head. */
  readonly keyLength: number | null;
  readonly valueLength: number | null;
  /** Multi-head latent attention (DeepSeek): keys are compressed and there is no separate value cache. */
  readonly latentAttention: boolean;
  readonly embeddingLength: number | null;
  readonly feedForwardLength: number | null;
  /** Context length that the model was trained for, in tokens. */
  readonly contextLength: number | null;
  /** Tokens in the vocabulary. */
  readonly vocabulary: number | null;
  /** Whether the file carries a chat template; without one, chat requests get a generic one. */
  readonly chatTemplate: boolean;
  /** How a model for embeddings sums up its tokens (`enum llama_pooling_type`); null for one that was not made for them. */
  readonly poolingType: number | null;
  readonly tensors: number;
  /** Bytes of the tensors: what is mapped or loaded into memory. */
  readonly weightsBytes: number;
  /** Bytes of the file, all parts together. */
  readonly fileBytes: number;
  /** 1, or the number of parts of a split GGUF. */
  readonly parts: number;
}

type Metadata = Record<string, MetadataValue | undefined>;
type Tensors = GGUFParseOutput['tensorInfos'];

/** Facts from what `@huggingface/gguf` parsed: metadata of the first part, tensors of all. Pure. */
export function toGgufFacts(first: object, tensors: Tensors, fileBytes: number, parts: number): GgufFacts {
  const metadata = first as Metadata;
  const architecture = textOf(metadata['general.architecture']) ?? 'unknown';
  const own = (key: string) => metadata[`${architecture}.${key}`];
  const layers = numberOf(own('block_count'));
  const heads = largest(own('attention.head_count'));
  const embeddingLength = numberOf(own('embedding_length'));
  const headLength = heads !== null && heads > 0 && embeddingLength !== null ? embeddingLength / heads : null;
  return {
    architecture,
    name: textOf(metadata['general.name']),
    parameters: tensors.reduce((sum, tensor) => sum + elementsOf(tensor.shape), 0),
    quantisation: quantisationOf(numberOf(metadata['general.file_type']), tensors),
    layers,
    heads,
    kvHeads: kvHeadsOf(own('attention.head_count_kv') ?? own('attention.head_count'), layers),
    keyLength: numberOf(own('attention.key_length')) ?? headLength,
    valueLength: numberOf(own('attention.value_length')) ?? headLength,
    latentAttention: own('attention.key_length_mla') !== undefined,
    embeddingLength,
    feedForwardLength: largest(own('feed_forward_length')),
    contextLength: numberOf(own('context_length')),
    vocabulary: vocabularyOf(metadata['tokenizer.ggml.tokens']) ?? numberOf(own('vocab_size')),
    poolingType: numberOf(own('pooling_type')),
    chatTemplate: (textOf(metadata['tokenizer.chat_template']) ?? '') !== '',
    tensors: tensors.length,
    weightsBytes: tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0),
    fileBytes,
    parts,
  };
}

function bytesOf(tensor: Tensors[number]): number {
  return tensorBytes(tensor.dtype, elementsOf(tensor.shape)) ?? 0;
}

function elementsOf(shape: readonly bigint[]): number {
  return shape.reduce((product, length) => product * Number(length), 1);
}

function quantisationOf(fileType: number | null, tensors: Tensors): string {
  const named = fileType === null ? undefined : GGMLFileQuantizationType[fileType];
  if (named !== undefined) return named;
  const bytes = new Map<number, number>();
  for (const tensor of tensors) bytes.set(tensor.dtype, (bytes.get(tensor.dtype) ?? 0) + bytesOf(tensor));
  const most = [...bytes].sort((a, b) => b[1] - a[1])[0];
  return most === undefined ? 'unknown' : tensorTypeName(most[0]);
}

function kvHeadsOf(value: MetadataValue | undefined, layers: number | null): number[] | null {
  if (Array.isArray(value)) return value.map((entry) => numberOf(entry) ?? 0);
  const same = numberOf(value);
  return same === null || layers === null ? null : Array.from({ length: layers }, () => same);
}

function vocabularyOf(tokens: MetadataValue | undefined): number | null {
  return Array.isArray(tokens) ? tokens.length : null;
}

function largest(value: MetadataValue | undefined): number | null {
  if (!Array.isArray(value)) return numberOf(value);
  const numbers = value.map((entry) => numberOf(entry) ?? 0);
  return numbers.length === 0 ? null : Math.max(...numbers);
}

function numberOf(value: MetadataValue | undefined): number | null {
  return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : null;
}

function textOf(value: MetadataValue | undefined): string | null {
  return typeof value === 'string' ? value : null;
}
