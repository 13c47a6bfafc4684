import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { cacheDirectory } from '../install/cache-directory.ts';
import { downloadFile } from '../download/download-file.ts';
import { createHttpClient } from '../download/http-client.ts';
import type { ModelProgress } from './model-progress.ts';
import { partsOf } from './split-file.ts';

/** What {@link fetchUrlModel} needs. */
export interface UrlModelRequest {
  /** https, or http from this machine. */
  readonly url: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ModelProgress) => void;
}

/**
 * Downloads a model, all parts of a split one, into `models` of llamero's cache, and returns the path of the first part.
 * A model that is there already is used as it is, without asking the server.
 * @throws LlameroError `model_not_found`, `install_failed`, `cancelled`
 */
export async function fetchUrlModel(request: UrlModelRequest): Promise<string> {
  const { env, signal, onProgress } = request;
  const urls = partUrls(request.url);
  const targets = urls.map((url) => urlCachePath(url, urls[0]!, env));
  await using client = createHttpClient({ env });
  for (const [index, url] of urls.entries()) {
    await downloadFile({ url, target: targets[index]!, client, signal, onProgress });
  }
  return targets[0]!;
}

/** The addresses of all parts, the first one first: only the last segment of the path differs. Pure. */
export function partUrls(address: string): URL[] {
  const url = new URL(address);
  return partsOf(url.pathname).map((pathname) => {
    const part = new URL(url);
    part.pathname = pathname;
    return part;
  });
}

/** Where the file of an address is kept: a folder for the address of the first part, so that names never collide. Pure. */
export function urlCachePath(url: URL, first: URL, env: NodeJS.ProcessEnv): string {
  const key = createHash('sha256').update(first.href).digest('hex').slice(0, 16);
  const last = decode(url.pathname.split('/').at(-1) ?? '').replace(/[^A-Za-z0-9._-]/g, '_');
  const name = /^\.*$/.test(last) ? 'model.gguf' : last;
  return join(cacheDirectory(env), 'models', key, name);
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    // Not percent-encoded after all: the characters are replaced anyway.
    return segment;
  }
}
