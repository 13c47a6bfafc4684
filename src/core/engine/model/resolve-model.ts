import { rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { LlameroError } from '../../errors.ts';
import { checkGgufModel } from './check-gguf.ts';
import { fetchHubModel } from './hub-model.ts';
import { parseModelReference } from './model-reference.ts';
import type { ModelReference } from './model-reference.ts';
import type { ModelProgress } from './model-progress.ts';
import { modelNameOf, partsOf } from './split-file.ts';
import { fetchUrlModel } from './url-model.ts';

/** A model that is complete and lies on this machine. */
export interface ResolvedModel {
  /** Absolute path of the GGUF; of the first part when it is split. */
  readonly path: string;
  /** Name for people and for `/v1/models`. */
  readonly name: string;
  /** The quantisation or file that was taken from a Hugging Face repository. */
  readonly chosen?: string;
  /** Size of all parts. */
  readonly bytes: number;
  /** How the model pools embeddings (`<architecture>.pooling_type`, llama.cpp's numbers); null when it tells none. */
  readonly poolingType: number | null;
}

/** What {@link resolveModel} needs. */
export interface ResolveModelOptions {
  /** A path, an https address, `user/repo[:quant]` or `user/repo/file.gguf`. */
  readonly reference: string;
  /** Environment: caches, `HF_TOKEN`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`, proxies. */
  readonly env: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
  /** Called at most ten times a second per step. */
  readonly onProgress?: (progress: ModelProgress) => void;
}

/**
 * From a model reference to a complete GGUF on this machine: downloads what is missing, and checks that the file is a
 * whole model before any engine is started.
 * @throws LlameroError `model_not_found` (no such file, repository or address, or no access to it), `invalid_options`
 * (a reference or file that cannot be a model), `install_failed` (download, checksum or disk space), `cancelled`
 */
export async function resolveModel(options: ResolveModelOptions): Promise<ResolvedModel> {
  const reference = await preferLocalFile(options.reference, options.env);
  if (reference.kind === 'path') return await checked(resolve(expandHome(reference.path, options.env)), options);
  if (reference.kind === 'url') {
    return await checkedDownload(await fetchUrlModel({ ...options, url: reference.url }), options);
  }
  const { path, chosen } = await fetchHubModel({ ...options, ...reference });
  return { ...(await checked(path, options)), chosen };
}

/** The reference of a text, in which a local file of that name goes before a repository: `a/b/c.gguf` may be either. */
export async function preferLocalFile(text: string, env: NodeJS.ProcessEnv): Promise<ModelReference> {
  const reference = parseModelReference(text);
  if (reference.kind !== 'huggingface') return reference;
  const path = expandHome(text.trim(), env);
  const isFile = await stat(path).then(
    (entry) => entry.isFile(),
    // Nothing there: the repository is meant.
    () => false,
  );
  return isFile ? { kind: 'path', path } : reference;
}

/** `~` is the shell's word, but a configuration file has no shell. */
export function expandHome(path: string, env: NodeJS.ProcessEnv): string {
  if (path !== '~' && !/^~[\\/]/.test(path)) return path;
  return join(env.HOME ?? env.USERPROFILE ?? homedir(), path.slice(1));
}

/** A web page that came instead of a model must not lie in the cache as one. */
async function checkedDownload(path: string, options: ResolveModelOptions): Promise<ResolvedModel> {
  try {
    return await checked(path, options);
  } catch (error) {
    if (error instanceof LlameroError && error.code === 'invalid_options') {
      for (const part of partsOf(path)) await rm(part, { force: true });
    }
    throw error;
  }
}

async function checked(path: string, options: ResolveModelOptions): Promise<ResolvedModel> {
  const { paths, bytes, poolingType } = await checkGgufModel(partsOf(path)[0]!, options.signal);
  return { path: paths[0]!, name: modelNameOf(path), bytes, poolingType };
}
