import { LlameroError } from '../core/errors.ts';

/**
 * Keeps requests from making the engine read files or call addresses. llama-server fetches `http(s)` media itself and
 * reads `file://` below its media path (`tools/server/server-common.cpp`, `handle_media`), in every dialect and also
 * while it only renders a template or counts tokens, so every POST body is looked through.
 *
 * Not the type of a part decides but the presence of a key that can carry media, wherever parts may stand: chat and
 * Anthropic `messages[]`, Responses `input[]`, and tool results nested in either. What is not clearly inline data is
 * refused, so that a reading of the engine that differs from ours finds nothing to fetch.
 */

/** Keys of a content part whose value carries media, either as a string or as an object with `url` or `data`. */
const MEDIA_KEYS: ReadonlySet<string> = new Set([
  'image_url',
  'input_audio',
  'input_video',
  'video_url',
  'audio_url',
  'input_image',
]);
const INLINE_DATA = /^data:/;
const BASE64 = /^[A-Za-z0-9+/_=\-\r\n]*$/;
const REMOTE = /^https?:\/\//;

/** @throws LlameroError `permission_denied` that names the part at fault. */
export function checkMedia(body: Readonly<Record<string, unknown>>, allowRemote: boolean): void {
  checkItems(body['messages'], 'messages', allowRemote);
  checkItems(body['input'], 'input', allowRemote);
}

/** Messages, input items and content parts alike: a part nested in an unexpected place is seen all the same. */
function checkItems(items: unknown, path: string, allowRemote: boolean): void {
  if (!Array.isArray(items)) return;
  for (let index = 0; index < items.length; index += 1) {
    const item: unknown = items[index];
    if (!isObject(item)) continue;
    // Few keys of few parts carry anything: looking at those that are there takes less than asking for each that could be.
    for (const key in item) {
      const value = item[key];
      if (key === 'content' || key === 'output') {
        if (Array.isArray(value)) checkItems(value, `${path}[${index}].${key}`, allowRemote);
      } else if (key === 'source') {
        checkSource(value, `${path}[${index}].${key}`, allowRemote);
      } else if (MEDIA_KEYS.has(key)) {
        checkCarrier(value, `${path}[${index}].${key}`, allowRemote);
      }
    }
  }
}

function checkCarrier(value: unknown, path: string, allowRemote: boolean): void {
  if (typeof value === 'string') {
    checkAddress(value, path, allowRemote);
  } else if (isObject(value)) {
    if (typeof value['url'] === 'string') checkAddress(value['url'], `${path}.url`, allowRemote);
    if (typeof value['data'] === 'string') checkAddress(value['data'], `${path}.data`, allowRemote);
  }
}

/** Anthropic's `source`: its `data` is plain text or base64 that the engine itself puts behind `data:`, never an address. */
function checkSource(source: unknown, path: string, allowRemote: boolean): void {
  if (isObject(source) && typeof source['url'] === 'string') checkAddress(source['url'], `${path}.url`, allowRemote);
}

function checkAddress(address: string, param: string, allowRemote: boolean): void {
  if (INLINE_DATA.test(address)) return;
  if (REMOTE.test(address)) {
    if (allowRemote) return;
    throw new LlameroError(
      'permission_denied',
      `${param} names a remote address. This server does not fetch media; send it inline as a data: URL.`,
      { param },
    );
  }
  // llama-server takes anything that starts with "http" for an address, even where it could be base64.
  if (!address.startsWith('http') && BASE64.test(address)) return;
  throw new LlameroError('permission_denied', `${param} must be a data: URL or plain base64 data.`, { param });
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
