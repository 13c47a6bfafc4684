import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LlameroError } from '../../errors.ts';
import { formatBytes } from '../download/byte-size.ts';
import { chooseModel, nothingFits } from './choose-file.ts';
import type { FileWish, RepositoryModel } from './choose-file.ts';
import { diskSpaceProblem, freeDiskBytes } from '../download/disk-space.ts';
import { statusError } from '../download/download-failure.ts';
import { downloadFile } from '../download/download-file.ts';
import { bytesOf } from '../download/file-size.ts';
import { createHubClient, hubAccess, hubFileUrl, listHubRepository } from './hub.ts';
import type { HubFile, HubListing } from './hub.ts';
import {
  blobPath,
  cachedSnapshots,
  hubRepositoryDirectory,
  linkBlob,
  snapshotPath,
  writeMainRef,
} from './hub-cache.ts';
import type { ModelProgress } from './model-progress.ts';

/** What {@link fetchHubModel} needs. */
export interface HubModelRequest extends FileWish {
  readonly repository: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ModelProgress) => void;
}

/** A model of a repository, in the cache. */
export interface HubModel {
  /** Of the first part. */
  readonly path: string;
  /** What was taken, for people: the quantisation, or the file's name when that tells none. */
  readonly chosen: string;
}

/**
 * A model of a Hugging Face repository: from the cache when anything there fits the wish, which needs no network, else
 * downloaded into it. `HF_HUB_OFFLINE=1` forbids the network.
 * @throws LlameroError `model_not_found`, `install_failed`, `cancelled`
 */
export async function fetchHubModel(request: HubModelRequest): Promise<HubModel> {
  const directory = hubRepositoryDirectory(request.repository, request.env);
  const cached = await findCachedHubModel(request);
  if (cached !== null) {
    tell(request, `Using ${cached.chosen} of ${request.repository} from the Hugging Face cache`);
    return cached;
  }
  if (/^(1|on|yes|true)$/i.test(request.env.HF_HUB_OFFLINE ?? '')) {
    throw new LlameroError(
      'model_not_found',
      `"${request.repository}" is not in the Hugging Face cache, and HF_HUB_OFFLINE forbids to download it.`,
      { param: 'model' },
    );
  }
  return await download(directory, request);
}

/** A model of the repository in the cache that fits the wish; null when there is none. */
export async function findCachedHubModel(
  request: FileWish & { readonly repository: string; readonly env: NodeJS.ProcessEnv },
): Promise<HubModel | null> {
  const directory = hubRepositoryDirectory(request.repository, request.env);
  for (const snapshot of await cachedSnapshots(directory)) {
    const model = chooseModel(snapshot.files, request);
    if (model !== null) return { path: join(snapshot.directory, model.files[0]!), chosen: nameOf(model) };
  }
  return null;
}

async function download(directory: string, request: HubModelRequest): Promise<HubModel> {
  const { repository, env, signal } = request;
  const access = hubAccess(env);
  await using client = createHubClient(access, env, signal);
  tell(request, `Looking up ${repository} on ${new URL(access.endpoint).host}`);
  const listing = await listHubRepository(repository, access, client, signal);
  const { files, chosen } = choose(listing, request);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  tell(request, `Taking ${chosen} of ${repository}: ${files[0]!.path}, ${formatBytes(bytes)}`);
  await checkSpace(directory, files);
  for (const [index, file] of files.entries()) {
    const blob = blobPath(directory, file.oid);
    const pointer = snapshotPath(directory, listing.commit, file.path);
    const part = files.length === 1 ? '' : ` (part ${index + 1} of ${files.length})`;
    await downloadFile({
      url: hubFileUrl(access, repository, listing.commit, file.path),
      target: blob,
      label: `${file.path.split('/').at(-1)}${part}`,
      client,
      headers: access.headers,
      checksum: file.checksum,
      explainStatus: (status, what) => statusError(status, what, true),
      signal,
      onProgress: request.onProgress,
    });
    await linkBlob(blob, pointer);
  }
  await writeMainRef(directory, listing.commit);
  return { path: snapshotPath(directory, listing.commit, files[0]!.path), chosen };
}

/**
 * The files of the model that fits, in the order of the parts, and its name for people.
 * @throws LlameroError `model_not_found` listing what there is
 */
export function choose(
  listing: HubListing,
  request: FileWish & { readonly repository: string },
): { files: HubFile[]; chosen: string } {
  const byPath = new Map(listing.files.map((file) => [file.path, file]));
  const model = chooseModel([...byPath.keys()], request);
  if (model === null) throw nothingFits(request.repository, [...byPath.keys()], request);
  return { files: model.files.map((path) => byPath.get(path)!), chosen: nameOf(model) };
}

/** All parts together, before the first one begins. */
async function checkSpace(directory: string, files: readonly HubFile[]): Promise<void> {
  let needed = 0;
  for (const file of files) {
    const blob = blobPath(directory, file.oid);
    needed += Math.max(0, file.bytes - (await bytesOf(blob)) - (await bytesOf(`${blob}.part`)));
  }
  if (needed === 0) return;
  const blobs = dirname(blobPath(directory, 'x'));
  await mkdir(blobs, { recursive: true });
  const problem = diskSpaceProblem(needed, await freeDiskBytes(blobs), blobs);
  if (problem !== null) throw new LlameroError('install_failed', problem);
}

function nameOf(model: RepositoryModel): string {
  return model.quantisation ?? model.files[0]!.split('/').at(-1)!;
}

function tell(request: HubModelRequest, message: string): void {
  request.onProgress?.({ step: 'resolve', fraction: null, message });
}
