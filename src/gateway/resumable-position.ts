import type { IncomingHttpHeaders } from 'node:http';
import { LlameroError } from '../core/errors.ts';

/** What a request says about taking a stream up again. Pure. */

/** Where somebody wants to go on. */
export interface StreamPosition {
  readonly streamId: string;
  /** Bytes of the stream that are there already. */
  readonly offset: number;
}

const EVENT_ID = /^([\w-]{1,64}):(\d{1,15})$/;

/**
 * Whether `X-Stream-Resume` asks for a stream that may be taken up again.
 * @throws LlameroError `invalid_request` for anything but `true` and `false`.
 */
export function wantsResumable(header: string | string[]): boolean {
  if (header === 'true' || header === 'false') return header === 'true';
  throw invalid('X-Stream-Resume must be true or false.', 'x-stream-resume');
}

/**
 * The position that a request names, or null when it names no stream. The stream: `X-Stream-Id`, or the first half of
 * `Last-Event-ID`. The offset: the second half of that, because a client that repeats its request changes only this
 * header; else `X-Stream-Offset`; else `offset` in the query; else 0, the beginning.
 * @param named the stream that the path names, if it does.
 * @throws LlameroError `invalid_request` for headers that are malformed or contradict each other.
 */
export function positionOf(headers: IncomingHttpHeaders, named: string | null, query = ''): StreamPosition | null {
  const header = headers['x-stream-id'];
  const last = lastEvent(headers['last-event-id']);
  const ids = [named, header, last?.streamId].filter((id) => typeof id === 'string');
  const [streamId] = ids;
  if (streamId === undefined) return null;
  if (ids.some((id) => id !== streamId)) {
    throw invalid('The request names different streams.', 'x-stream-id');
  }
  const asked = headers['x-stream-offset'] ?? new URLSearchParams(query).get('offset') ?? '0';
  if (typeof asked !== 'string' || !/^\d{1,15}$/.test(asked)) {
    throw invalid('X-Stream-Offset must be the number of bytes that were received.', 'x-stream-offset');
  }
  return { streamId, offset: last?.offset ?? Number(asked) };
}

function lastEvent(header: string | string[] | undefined): StreamPosition | null {
  if (header === undefined || header === '') return null;
  const [, streamId, offset] = (typeof header === 'string' ? EVENT_ID.exec(header) : null) ?? [];
  if (streamId === undefined) throw invalid('Last-Event-ID is not an id of an event of this server.', 'last-event-id');
  return { streamId, offset: Number(offset) };
}

function invalid(message: string, param: string): LlameroError {
  return new LlameroError('invalid_request', message, { param });
}
