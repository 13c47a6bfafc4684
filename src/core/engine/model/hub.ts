import { LlameroError } from '../../errors.ts';
import type { Checksum } from '../download/checksum.ts';
import { statusError, transferError } from '../download/download-failure.ts';
import { createHttpClient } from '../download/http-client.ts';
import type { HttpClient } from '../download/http-client.ts';
import { isAllowedAddress } from '../download/allowed-address.ts';

/** Where models are looked up, and with whose rights. */
export interface HubAccess {
  /** Without a slash at the end. */
  readonly endpoint: string;
  /** Sent to the endpoint, never to the storage that it redirects to. */
  readonly headers: Record<string, string>;
}

/** One file of a repository. */
export interface HubFile {
  readonly path: string;
  readonly bytes: number;
  /** Name of its blob in the cache: SHA-256 of a large file, git blob id of a small one. */
  readonly oid: string;
  readonly checksum: Checksum;
}

/** What a repository holds at the newest revision of `main`. */
export interface HubListing {
  readonly commit: string;
  readonly files: readonly HubFile[];
}

/**
 * `HF_ENDPOINT` (default https://huggingface.co) and `HF_TOKEN`.
 * @throws LlameroError `invalid_options` for an endpoint that is no allowed address
 */
export function hubAccess(env: NodeJS.ProcessEnv): HubAccess {
  const endpoint = (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  if (!URL.canParse(endpoint) || !isAllowedAddress(new URL(endpoint))) {
    throw new LlameroError(
      'invalid_options',
      'HF_ENDPOINT must be an https address (http:// only from this machine), such as https://huggingface.co.',
      { param: 'HF_ENDPOINT' },
    );
  }
  const token = env.HF_TOKEN?.trim();
  return { endpoint, headers: token ? { authorization: `Bearer ${token}` } : {} };
}

/** A client whose `fetch` authenticates at the hub. */
export function createHubClient(access: HubAccess, env: NodeJS.ProcessEnv, signal?: AbortSignal): HttpClient {
  const authorize = { origin: new URL(access.endpoint).origin, headers: access.headers };
  return createHttpClient({ env, authorize, ...(signal === undefined ? {} : { signal }) });
}

/** The address of a file's bytes. */
export function hubFileUrl(access: HubAccess, repository: string, commit: string, path: string): URL {
  return new URL(
    `${access.endpoint}/${repository}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`,
  );
}

/**
 * Lists a repository, with what is needed to check its files.
 * @throws LlameroError `model_not_found` (no such repository, or no access), `install_failed` (not reachable), `cancelled`
 */
export async function listHubRepository(
  repository: string,
  access: HubAccess,
  client: HttpClient,
  signal?: AbortSignal,
): Promise<HubListing> {
  const what = `repository "${repository}" on ${new URL(access.endpoint).host}`;
  // The library would try to read the page of a proxy as JSON and lose the status.
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const response = await client.fetch(input, init);
    if (response.ok) return response;
    await response.body?.cancel();
    throw statusError(response.status, what, true);
  };
  // Loaded here: most starts need no hub.
  const { listFiles, modelInfo } = await import('@huggingface/hub');
  const where = { hubUrl: access.endpoint, fetch };
  try {
    const { sha } = await modelInfo({ ...where, name: repository, revision: 'main', additionalFields: ['sha'] });
    const files: HubFile[] = [];
    for await (const entry of listFiles({ ...where, repo: repository, revision: sha, recursive: true })) {
      const file = entry.type === 'file' ? toHubFile(entry) : null;
      if (file !== null) files.push(file);
    }
    return { commit: sha, files };
  } catch (error) {
    if (signal?.aborted === true) throw new LlameroError('cancelled', 'The lookup was cancelled.', { cause: error });
    throw transferError(error, `The ${what}`, 'looked up');
  }
}

interface ListedFile {
  path: string;
  size: number;
  oid?: string;
  lfs?: { oid: string; size: number };
}

/** Null for what must not become a file name here, or cannot be checked. */
function toHubFile(entry: ListedFile): HubFile | null {
  if (!isSafePath(entry.path)) return null;
  const { lfs } = entry;
  if (lfs !== undefined) {
    const oid = lfs.oid.replace(/^sha256:/, '').toLowerCase();
    if (!/^[0-9a-f]{64}$/.test(oid)) return null;
    return { path: entry.path, bytes: lfs.size, oid, checksum: { algorithm: 'sha256', hex: oid } };
  }
  const oid = entry.oid?.toLowerCase() ?? '';
  if (!/^[0-9a-f]{40}$/.test(oid)) return null;
  return { path: entry.path, bytes: entry.size, oid, checksum: { algorithm: 'git-blob', hex: oid } };
}

/** Whether a path from a repository stays inside the folder that it is joined to, on every platform. */
export function isSafePath(path: string): boolean {
  const segments = path.split('/');
  return !/[\\:\0]/.test(path) && segments.every((segment) => segment !== '' && segment !== '.' && segment !== '..');
}
