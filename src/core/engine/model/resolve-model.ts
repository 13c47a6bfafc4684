import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseModelReference } from './model-reference.ts';
import type { ModelReference } from './model-reference.ts';
import { readGgufFacts } from './read-gguf.ts';
import { modelNameOf, partsOf } from './split-file.ts';

/** One piece of news while a model is looked up, downloaded or checked; the same shape as an engine's installation. */
export interface ModelProgress {
  readonly step: string;
  /** 0 to 1; null while it is not known. */
  readonly fraction: number | null;
  readonly message: string;
}

/** A model that is complete and lies on this machine. */
export interface ResolvedModel {
  /** Absolute path of the GGUF; of the first part when it is split. */
  readonly path: string;
  /** Name for people and for `/v1/models`. */
  readonly name: string;
  /** The file or quantisation that was taken, when the reference left the choice. */
  readonly chosen?: string;
  /** Size of all parts. */
  readonly bytes: number;
}

/** What {@link resolveModel} needs. */
export interface ResolveModelOptions {
  /** A path, an https address, `user/repo[:quant]` or `user/repo/file.gguf`. */
  readonly reference: string;
  /** Environment: caches, `HF_TOKEN`, `HF_ENDPOINT`, proxies. */
  readonly env: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ModelProgress) => void;
}

/**
 * From a model reference to a complete GGUF on this machine: downloads what is missing, and checks that the file can be
 * read, before any engine is started.
 * @throws LlameroError `model_not_found` (no such file, repository or address), `invalid_options` (a reference or file
 * that cannot be a model), `install_failed` (download, checksum or disk space), `cancelled`.
 */
export async function resolveModel(options: ResolveModelOptions): Promise<ResolvedModel> {
  const reference = await preferLocalFile(options.reference, options.env);
  return await resolvePath(reference.kind === 'path' ? reference.path : '', options);
}

async function resolvePath(path: string, options: ResolveModelOptions): Promise<ResolvedModel> {
  const first = partsOf(resolve(expandHome(path, options.env)))[0]!;
  const facts = await readGgufFacts(first, options.signal);
  return { path: first, name: modelNameOf(first), bytes: facts.fileBytes };
}

/** A text such as `a/b/c.gguf` may be a relative path or a repository; a file that exists decides. */
async function preferLocalFile(text: string, env: NodeJS.ProcessEnv): Promise<ModelReference> {
  const reference = parseModelReference(text);
  if (reference.kind !== 'huggingface' || !text.includes('/')) return reference;
  const isFile = await stat(expandHome(text, env)).then(
    (entry) => entry.isFile(),
    () => false,
  );
  return isFile ? { kind: 'path', path: text } : reference;
}

function expandHome(path: string, env: NodeJS.ProcessEnv): string {
  if (path !== '~' && !/^~[\\/]/.test(path)) return path;
  return join(env.HOME ?? env.USERPROFILE ?? homedir(), path.slice(1));
}
