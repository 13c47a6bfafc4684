import type { LlameroError } from '../errors.ts';
import type { Dialect } from './routes.ts';

/**
 * How an error looks to a client: as a body, and as the last event of a stream. Pure formatting; whoever creates a
 * {@link LlameroError} keeps paths, keys and prompts out of its message.
 */

/** The object under `error`: always these four keys, as OpenAI clients expect them. */
export interface ErrorObject {
  message: string;
  type: string;
  param: string | null;
  code: string;
}

/** The four keys of an error. */
export function errorObject(error: LlameroError): ErrorObject {
  return { message: error.message, type: error.type, param: error.param ?? null, code: error.code };
}

/**
 * The JSON body of an error. Anthropic's clients look for `"type":"error"` beside the error object, so bodies of the
 * `messages` dialect carry it in addition.
 */
export function errorBody(error: LlameroError, dialect: Dialect = 'json'): string {
  const object = errorObject(error);
  return JSON.stringify(dialect === 'messages' ? { type: 'error', error: object } : { error: object });
}

/**
 * The event that ends a stream which failed after its head went out. No `[DONE]` follows it.
 *
 * OpenAI and llama.cpp streams: a `data:` event with the error body. Anthropic streams: `event: error`. Responses
 * streams: an `error` event with OpenAI's own flat fields and the error object, so that typed clients and those that
 * look for `error` both raise it.
 */
export function streamErrorEvent(dialect: Dialect, error: LlameroError): Buffer {
  const object = errorObject(error);
  switch (dialect) {
    case 'messages':
      return Buffer.from(`event: error\ndata: ${JSON.stringify({ type: 'error', error: object })}\n\n`);
    case 'responses': {
      const { message, param, code } = object;
      return Buffer.from(
        `event: error\ndata: ${JSON.stringify({ type: 'error', code, message, param, error: object })}\n\n`,
      );
    }
    default:
      return Buffer.from(`data: ${JSON.stringify({ error: object })}\n\n`);
  }
}
