import { isUtf8 } from 'node:buffer';
import { LlameroError } from '../core/errors.ts';
import { checkHazards } from '../core/openai/engine-hazards.ts';
import { isNestedDeeperThan } from '../core/openai/json-scan.ts';
import { planStream, type StreamPlan, type StreamRules } from '../core/openai/continuation/plan-stream.ts';
import { type RequestWork, workOf } from '../core/openai/request-work.ts';
import type { EngineRoute } from '../core/openai/routes.ts';
import { MAX_NESTING } from './limits.ts';
import { checkMedia } from './media-guard.ts';

/** What the gateway learned from a body. The body itself goes on as it came. */
export interface CheckedBody {
  /** Whether a stream is asked for, on a route that has streams. */
  readonly stream: boolean;
  /** What it asks of the engine. */
  readonly work: RequestWork;
  /** What happens to the stream if its engine is lost, and how it is delivered; null also where it is no stream. */
  readonly continuation: StreamPlan | null;
}

/**
 * Checks no more of a request body than the gateway must know: that it is one JSON object in UTF-8, not nested beyond
 * reason, which media it names, that nothing in it is known to take the engine down, and whether it asks for a stream. Of
 * a key that is given twice the last one counts, here as in llama-server.
 *
 * @throws LlameroError `invalid_request` or `permission_denied`.
 */
export function checkBody(
  body: Buffer,
  route: EngineRoute,
  { allowRemoteMedia, continuation }: { readonly allowRemoteMedia: boolean; readonly continuation: StreamRules },
): CheckedBody {
  const fields = parseObject(body);
  const stream = fields['stream'];
  if (stream !== undefined && stream !== null && typeof stream !== 'boolean') {
    throw new LlameroError('invalid_request', `'stream' must be true or false, not ${describe(stream)}.`, {
      param: 'stream',
    });
  }
  checkMedia(fields, allowRemoteMedia);
  checkHazards(fields);
  const isStream = stream === true && route.canStream;
  return {
    stream: isStream,
    work: workOf(route, fields, body.length),
    continuation: isStream ? planStream(route, fields, continuation) : null,
  };
}

/** Refuses what is not JSON by its own description. An absent content type is taken for JSON. */
export function checkContentHeaders(contentType: string | undefined, contentEncoding: string | undefined): void {
  if (contentEncoding !== undefined && contentEncoding.toLowerCase() !== 'identity') {
    throw new LlameroError('invalid_request', 'Content-Encoding is not supported; send the body as plain JSON.', {
      status: 415,
    });
  }
  if (contentType === undefined || contentType === 'application/json') return;
  const [type = '', ...parameters] = contentType.toLowerCase().split(';');
  if (type.trim() !== 'application/json') {
    throw new LlameroError('invalid_request', 'Content-Type must be application/json.', { status: 415 });
  }
  for (const parameter of parameters) {
    const [name = '', value = ''] = parameter.split('=');
    if (name.trim() === 'charset' && !/^"?utf-?8"?$/.test(value.trim())) {
      throw new LlameroError('invalid_request', 'The charset of the body must be utf-8.', { status: 415 });
    }
  }
}

function parseObject(body: Buffer): Readonly<Record<string, unknown>> {
  if (body.length === 0) throw invalid('The request body is empty; a JSON object is expected.');
  if (!isUtf8(body)) throw invalid('The request body is not valid UTF-8.');
  if (isNestedDeeperThan(body, MAX_NESTING)) {
    throw invalid(`The request body nests deeper than ${MAX_NESTING} levels.`);
  }
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch (error) {
    throw new LlameroError('invalid_request', `The request body is not valid JSON${position(error)}.`, {
      cause: error,
    });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(`The request body must be a JSON object, not ${describe(value)}.`);
  }
  return value as Record<string, unknown>;
}

function invalid(message: string): LlameroError {
  return new LlameroError('invalid_request', message);
}

/** V8's message quotes the text around the fault, which may be a prompt: only the position is told. */
function position(error: unknown): string {
  const match = error instanceof Error ? /at position (\d+)/.exec(error.message) : null;
  return match === null ? '' : ` (fault at character ${match[1]})`;
}

function describe(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return 'an object';
  return `a ${typeof value}`;
}
