import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';

/** A checksum that someone told about a file. */
export interface Checksum {
  /** `git-blob` is SHA-1 over git's blob header and the content: how small files of a repository are named. */
  readonly algorithm: 'sha256' | 'md5' | 'git-blob';
  /** Lower case. */
  readonly hex: string;
}

type HeaderValue = string | string[] | undefined;

/**
 * The checksum of a whole file that a server tells in the headers of its answer, the strongest first; null for none.
 * - `x-linked-etag`, `etag`: 64 hex digits are the SHA-256 of the file on Hugging Face and its mirrors
 * - `repr-digest` (RFC 9530), `digest` (RFC 3230): of the whole file, also when a part is sent
 * - `content-md5` (RFC 1864): of what is sent, so only counted when that is the whole file
 */
export function checksumFromHeaders(headers: Record<string, HeaderValue>, status: number): Checksum | null {
  for (const name of ['x-linked-etag', 'etag']) {
    const hex = first(headers[name])?.replace(/^W\//, '').replaceAll('"', '').toLowerCase();
    if (hex !== undefined && /^[0-9a-f]{64}$/.test(hex)) return { algorithm: 'sha256', hex };
  }
  const digest = /(?:^|[,\s])sha-256=:?([A-Za-z0-9+/]{43}=):?/i.exec(
    `${first(headers['repr-digest']) ?? ''},${first(headers.digest) ?? ''}`,
  )?.[1];
  if (digest !== undefined) return { algorithm: 'sha256', hex: toHex(digest) };
  const md5 = first(headers['content-md5']);
  if (status === 200 && md5 !== undefined && /^[A-Za-z0-9+/]{22}==$/.test(md5)) {
    return { algorithm: 'md5', hex: toHex(md5) };
  }
  return null;
}

/** The checksum of a file as it lies on the disk. `onBytes` is told how many bytes have been read. */
export async function hashFile(
  path: string,
  algorithm: Checksum['algorithm'],
  bytes: number,
  options: { signal?: AbortSignal; onBytes?: (read: number) => void } = {},
): Promise<string> {
  const hash = createHash(algorithm === 'git-blob' ? 'sha1' : algorithm);
  if (algorithm === 'git-blob') hash.update(`blob ${bytes}\0`);
  let read = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, signal: options.signal })) {
    hash.update(chunk as Buffer);
    read += (chunk as Buffer).length;
    options.onBytes?.(read);
  }
  return hash.digest('hex');
}

function first(value: HeaderValue): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

function toHex(base64: string): string {
  return Buffer.from(base64, 'base64').toString('hex');
}
