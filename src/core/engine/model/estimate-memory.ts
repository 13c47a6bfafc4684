import { cacheElementBytes } from './ggml-types.ts';
import type { CacheType } from './ggml-types.ts';
import type { GgufFacts } from './gguf-facts.ts';

/** How the engine will be run. */
export interface MemoryOptions {
  /** Slots. */
  readonly parallel: number;
  /** Context length of one slot, in tokens. */
  readonly ctxSize: number;
  /** Type of the KV cache, for keys and values; llama-server's default is `f16`. */
  readonly cacheType?: CacheType;
}

/** What a model will need, in bytes. */
export interface MemoryEstimate {
  /** The tensors. They are mapped from the file on CPU: they need memory to be fast, not to start. */
  readonly weightsBytes: number;
  /** Keys and values of one slot at full context; null when the file does not tell enough. */
  readonly kvCachePerSlotBytes: number | null;
  readonly kvCacheBytes: number | null;
  /** Rough: buffers for one batch. Depends on the engine's version and device; expect it to be off by half. */
  readonly computeBytes: number;
  /** All of it; without the KV cache when that is not known. */
  readonly totalBytes: number;
}

/** llama-server rounds the context of a slot up to it. */
const CONTEXT_STEP = 256;
/** llama-server's `--ubatch-size`: tokens that are computed at once. */
const BATCH_TOKENS = 512;
const FLOAT_BYTES = 4;

/**
 * What running a model takes. The KV cache counts every layer at full context: exact for ordinary transformers, an upper
 * bound for models with sliding-window layers. Pure.
 * Source: `llama_kv_cache` in llama.cpp, src/llama-kv-cache.cpp: `n_embd_k_gqa × cells` per layer, and the same for values.
 */
export function estimateMemory(facts: GgufFacts, options: MemoryOptions): MemoryEstimate {
  const cells = Math.ceil(options.ctxSize / CONTEXT_STEP) * CONTEXT_STEP;
  const perToken = kvCacheBytesPerToken(facts, options.cacheType ?? 'f16');
  const perSlot = perToken === null ? null : perToken * cells;
  const kvCacheBytes = perSlot === null ? null : perSlot * options.parallel;
  const computeBytes = roughComputeBytes(facts, cells, options.parallel);
  return {
    weightsBytes: facts.weightsBytes,
    kvCachePerSlotBytes: perSlot,
    kvCacheBytes,
    computeBytes,
    totalBytes: facts.weightsBytes + (kvCacheBytes ?? 0) + computeBytes,
  };
}

/** Bytes of keys and values of one token over all layers; null when the file does not tell enough. */
export function kvCacheBytesPerToken(facts: GgufFacts, cacheType: CacheType): number | null {
  const { kvHeads, keyLength, valueLength } = facts;
  if (kvHeads === null || keyLength === null || valueLength === null) return null;
  const heads = kvHeads.reduce((sum, layer) => sum + layer, 0);
  const elements = heads * (keyLength + (facts.latentAttention ? 0 : valueLength));
  return elements * cacheElementBytes(cacheType);
}

/** Hidden states and the attention mask of one batch, and the logits of one token per slot. */
function roughComputeBytes(facts: GgufFacts, cells: number, parallel: number): number {
  const width = 4 * (facts.embeddingLength ?? 0) + 2 * (facts.feedForwardLength ?? 0);
  return BATCH_TOKENS * (width * FLOAT_BYTES + cells * 2) + parallel * (facts.vocabulary ?? 0) * FLOAT_BYTES;
}
