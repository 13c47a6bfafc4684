import type { GGUFParseOutput } from '@huggingface/gguf';
import { checkGgufModel, unusableModel } from './check-gguf.ts';
import { toGgufFacts } from './gguf-facts.ts';
import type { GgufFacts } from './gguf-facts.ts';
import { partsOf } from './split-file.ts';

/**
 * Reads what a local GGUF holds, all parts of a split one. Takes up to a second or two for a large vocabulary.
 * @throws LlameroError as {@link checkGgufModel}, which comes first
 */
export async function readGgufFacts(path: string, signal?: AbortSignal): Promise<GgufFacts> {
  const { paths, bytes } = await checkGgufModel(path, signal);
  try {
    return await read(paths, bytes, { allowLocalFile: true }, signal);
  } catch (error) {
    signal?.throwIfAborted();
    throw unusableModel(path, `cannot be understood (${(error as Error).message})`, error);
  }
}

/**
 * The same from an https address, by range requests: nothing is stored, and completeness is not checked. `fetch`
 * carries authorization, proxy and cancellation; `fileBytes` is the size of all parts, from elsewhere.
 */
export async function readRemoteGgufFacts(
  url: string,
  fileBytes: number,
  fetch: typeof globalThis.fetch,
  signal?: AbortSignal,
): Promise<GgufFacts> {
  return await read(partsOf(url), fileBytes, { fetch }, signal);
}

async function read(
  paths: readonly string[],
  bytes: number,
  options: { allowLocalFile: true } | { fetch: typeof globalThis.fetch },
  signal: AbortSignal | undefined,
): Promise<GgufFacts> {
  // Loaded here: a server that only starts its engine does not need it.
  const { gguf } = await import('@huggingface/gguf');
  const parsed: GGUFParseOutput[] = [];
  for (const path of paths) {
    signal?.throwIfAborted();
    parsed.push(await gguf(path, options));
  }
  const tensors = parsed.flatMap((part) => part.tensorInfos);
  return toGgufFacts(parsed[0]!.metadata, tensors, bytes, paths.length);
}
