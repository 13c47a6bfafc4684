import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { LlameroError } from '../../errors.ts';
import { statusError, transferError } from '../download/download-failure.ts';
import type { GgufFacts } from './gguf-facts.ts';
import { createHttpClient } from '../download/http-client.ts';
import type { HttpClient } from '../download/http-client.ts';
import { createHubClient, hubAccess, hubFileUrl, listHubRepository } from './hub.ts';
import { choose, findCachedHubModel } from './hub-model.ts';
import type { ModelReference } from './model-reference.ts';
import type { ModelProgress } from './model-progress.ts';
import { readGgufFacts, readRemoteGgufFacts } from './read-gguf.ts';
import { expandHome, preferLocalFile } from './resolve-model.ts';
import type { ResolveModelOptions } from './resolve-model.ts';
import { partsOf } from './split-file.ts';
import { partUrls, urlCachePath } from './url-model.ts';

/** A model as {@link inspectModel} found it. */
export interface InspectedModel {
  readonly facts: GgufFacts;
  /** A path, or an address when the model is not on this machine. */
  readonly location: string;
  readonly local: boolean;
  /** The quantisation or file that was taken from a Hugging Face repository. */
  readonly chosen?: string;
}

/**
 * What a model holds, without downloading it: of a model that is not on this machine only the header is fetched, with
 * range requests (some MB).
 * @throws LlameroError as `resolveModel`
 */
export async function inspectModel(options: ResolveModelOptions): Promise<InspectedModel> {
  const reference = await preferLocalFile(options.reference, options.env);
  switch (reference.kind) {
    case 'path':
      return await inspectLocal(resolve(expandHome(reference.path, options.env)), options);
    case 'url':
      return await inspectAddress(reference.url, options);
    case 'huggingface':
      return await inspectRepository(reference, options);
    default:
      throw new Error('unknown kind of model reference');
  }
}

async function inspectLocal(path: string, options: ResolveModelOptions, chosen?: string): Promise<InspectedModel> {
  const location = partsOf(path)[0]!;
  const facts = await readGgufFacts(location, options.signal);
  return { facts, location, local: true, ...(chosen === undefined ? {} : { chosen }) };
}

async function inspectAddress(address: string, options: ResolveModelOptions): Promise<InspectedModel> {
  const first = partUrls(address)[0]!;
  const cached = urlCachePath(first, first, options.env);
  if (await exists(cached)) return await inspectLocal(cached, options);
  await using client = createHttpClient({ env: options.env, ...signalOf(options) });
  tell(options, `Reading the header of the model at ${first.host}`);
  return { facts: await readRanges(first, null, client, options, false), location: first.href, local: false };
}

async function inspectRepository(
  reference: Extract<ModelReference, { kind: 'huggingface' }>,
  options: ResolveModelOptions,
): Promise<InspectedModel> {
  const { repository } = reference;
  const cached = await findCachedHubModel({ ...reference, env: options.env });
  if (cached !== null) return await inspectLocal(cached.path, options, cached.chosen);
  const access = hubAccess(options.env);
  await using client = createHubClient(access, options.env, options.signal);
  tell(options, `Looking up ${repository} on ${new URL(access.endpoint).host}`);
  const listing = await listHubRepository(repository, access, client, options.signal);
  const { files, chosen } = choose(listing, reference);
  const url = hubFileUrl(access, repository, listing.commit, files[0]!.path);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  return { facts: await readRanges(url, bytes, client, options, true), location: url.href, local: false, chosen };
}

/** Facts by range requests; `bytes` null: the sizes are those that the ranges tell. */
async function readRanges(
  url: URL,
  bytes: number | null,
  client: HttpClient,
  options: ResolveModelOptions,
  hub: boolean,
): Promise<GgufFacts> {
  const name = url.pathname.split('/').at(-1) ?? url.host;
  const sizes = new Map<string, number>();
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const response = await client.fetch(input, init);
    if (response.status === 206) {
      sizes.set(
        input instanceof Request ? input.url : input.toString(),
        Number(/\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1] ?? 0),
      );
      return response;
    }
    await response.body?.cancel();
    if (!response.ok) throw statusError(response.status, name, hub);
    // The whole file would come, into memory.
    throw new LlameroError(
      'install_failed',
      `The server of ${name} sends no parts of files: download it to inspect it.`,
    );
  };
  try {
    const facts = await readRemoteGgufFacts(url.href, bytes ?? 0, fetch, options.signal);
    return bytes === null ? { ...facts, fileBytes: [...sizes.values()].reduce((sum, size) => sum + size, 0) } : facts;
  } catch (error) {
    if (options.signal?.aborted === true) throw new LlameroError('cancelled', 'Cancelled.', { cause: error });
    if (error instanceof Error && /valid gguf/.test(error.message)) {
      throw new LlameroError('invalid_options', `${name} is not a GGUF.`, { param: 'model', cause: error });
    }
    throw transferError(error, name, 'looked up');
  }
}

function signalOf(options: ResolveModelOptions): { signal?: AbortSignal } {
  return options.signal === undefined ? {} : { signal: options.signal };
}

function tell(options: { onProgress?: (progress: ModelProgress) => void }, message: string): void {
  options.onProgress?.({ step: 'resolve', fraction: null, message });
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
