import type { EngineConfig } from '../config.ts';

/** Where an engine listens. */
export type EngineAddress =
  | { readonly kind: 'unix'; readonly socketPath: string }
  | { readonly kind: 'tcp'; readonly port: number };

/**
 * How often a streaming llama-server says that it is alive while it has nothing to send, in seconds. Its own default is
 * 30 s, which is also llamero's default limit for silence within a stream.
 */
const PING_SECONDS = 10;

/** `llama.pooling_type` of a reranker in GGUF (`enum llama_pooling_type`, include/llama.h). */
const POOLING_RANK = 4;
/** llama-server must read an embedding input in one physical batch; beyond this it would cost too much memory by default. */
const LARGEST_EMBEDDING_BATCH = 8192;

/** The model as an engine needs to know it. */
export interface EngineModel {
  readonly path: string;
  /** Name under which it is served. */
  readonly name: string;
  /** `<architecture>.pooling_type` of the GGUF; null for a model that was not made for embeddings. */
  readonly poolingType: number | null;
}

/**
 * The command line of llama-server (options: `common/arg.cpp`). The user's own `engine.args` come last, because the
 * server lets a later option win.
 */
export function engineArguments(
  config: Pick<EngineConfig, 'parallel' | 'ctxSize' | 'args'>,
  model: EngineModel,
  address: EngineAddress,
  slotsPath: string,
): string[] {
  const listen =
    address.kind === 'unix' ? ['--host', address.socketPath] : ['--host', '127.0.0.1', '--port', String(address.port)];
  return [
    '--model',
    model.path,
    '--alias',
    model.name,
    ...listen,
    '--parallel',
    String(config.parallel),
    // llama-server divides its context among the slots; llamero's ctxSize is that of one slot.
    '--ctx-size',
    String(config.ctxSize * config.parallel),
    '--sse-ping-interval',
    String(PING_SECONDS),
    // The page of llama-server is not served through llamero; metrics and slots are read by llamero itself.
    '--no-ui',
    '--metrics',
    '--slots',
    // For planned restarts alone: the gateway lets nobody save or restore a slot.
    '--slot-save-path',
    slotsPath,
    ...embeddingArguments(model.poolingType, config),
    ...config.args,
  ];
}

/**
 * Embeddings beside chat cost nothing (measured), so they are always on; a reranker can do nothing else.
 *
 * A model that was not made for embeddings gives the state of its last token, which needs no batch of a certain size. One
 * that was has its own way, most often the mean of all tokens: its inputs must fit one physical batch, and the slots must
 * share their KV cache, or inputs of different lengths that are read together get wrong vectors (seen with llama.cpp v0.5.0).
 * The batch is a multiple of the slots, or the server of that version ends in an assertion as it starts.
 */
function embeddingArguments(
  poolingType: number | null,
  { ctxSize, parallel }: Pick<EngineConfig, 'ctxSize' | 'parallel'>,
): string[] {
  if (poolingType === null) return ['--embeddings', '--pooling', 'last'];
  const kind = poolingType === POOLING_RANK ? '--reranking' : '--embeddings';
  const batch = String(Math.ceil(Math.min(ctxSize, LARGEST_EMBEDDING_BATCH) / parallel) * parallel);
  const shared = ['--kv-unified', '--kv-unified-per-slot', String(ctxSize)];
  return [kind, '--batch-size', batch, '--ubatch-size', batch, ...shared];
}
