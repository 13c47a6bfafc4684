import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { LlameroError } from '../../errors.ts';
import { checksumFromHeaders } from './checksum.ts';
import type { Checksum } from './checksum.ts';
import { isAllowedAddress } from './allowed-address.ts';

const MOST_REDIRECTS = 10;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** A server's answer to a request for a file, or for the rest of one. */
export interface DownloadResponse {
  readonly status: number;
  readonly body: Readable & { dump(): Promise<void> };
  /** Where the body begins in the file. */
  readonly offset: number;
  /** Size of the whole file; null when the server does not tell. */
  readonly totalBytes: number | null;
  /** What a later request may offer in `If-Range`; null when there is nothing reliable (a weak ETag is not). */
  readonly validator: string | null;
  readonly checksum: Checksum | null;
}

/**
 * Asks for a file and follows redirects by hand: Hugging Face tells the checksum in the redirect, not at its end, and
 * every hop must be an allowed address. `headers` go to the first origin only: the storage behind it must not see a
 * token.
 */
export async function openDownload(
  url: URL,
  headers: Record<string, string>,
  range: { offset: number; validator: string | null },
  dispatcher: Dispatcher,
  signal: AbortSignal | undefined,
): Promise<DownloadResponse> {
  let address = url;
  let linked: Checksum | null = null;
  for (let hop = 0; hop <= MOST_REDIRECTS; hop += 1) {
    const response = await dispatcher.request({
      origin: address.origin,
      path: address.pathname + address.search,
      method: 'GET',
      headers: { ...(address.origin === url.origin ? headers : {}), ...rangeHeaders(range) },
      signal,
    });
    const location = response.headers.location;
    if (!REDIRECTS.has(response.statusCode) || typeof location !== 'string') {
      return toDownloadResponse(response, linked);
    }
    linked ??= checksumFromHeaders({ 'x-linked-etag': response.headers['x-linked-etag'] }, response.statusCode);
    await response.body.dump();
    address = redirected(location, address);
  }
  throw new LlameroError('install_failed', `The address ${url.origin} redirects in a circle.`);
}

function redirected(location: string, from: URL): URL {
  const next = URL.canParse(location, from.href) ? new URL(location, from.href) : null;
  if (next !== null && isAllowedAddress(next)) return next;
  throw new LlameroError('install_failed', `${from.origin} redirects to an address that llamero does not follow.`);
}

function rangeHeaders(range: { offset: number; validator: string | null }): Record<string, string> {
  // Compressed bytes could be neither resumed nor checked.
  const base = { 'accept-encoding': 'identity', 'user-agent': 'llamero' };
  if (range.offset === 0) return base;
  const resume = { ...base, range: `bytes=${range.offset}-` };
  return range.validator === null ? resume : { ...resume, 'if-range': range.validator };
}

function toDownloadResponse(response: Dispatcher.ResponseData, linked: Checksum | null): DownloadResponse {
  const { headers, statusCode } = response;
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(text(headers['content-range']) ?? '');
  const length = text(headers['content-length']);
  const etag = text(headers.etag);
  return {
    status: statusCode,
    body: response.body,
    offset: statusCode === 206 ? Number(range?.[1] ?? Number.NaN) : 0,
    totalBytes: statusCode === 206 ? sizeOf(range?.[2]) : sizeOf(length),
    validator: etag !== undefined && !etag.startsWith('W/') ? etag : (text(headers['last-modified']) ?? null),
    checksum: linked ?? checksumFromHeaders(headers, statusCode),
  };
}

function sizeOf(value: string | undefined): number | null {
  return value !== undefined && /^\d+$/.test(value) ? Number(value) : null;
}

function text(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
