import type { RequestWork } from './request-work.ts';
import type { EngineRoute } from './routes.ts';

/**
 * What llamero adds to a body for itself. The bytes of the caller stay as they are: a member is put at the beginning, where
 * the caller's own of that name outranks it, or at the end, where it outranks the caller's (of a name that comes twice
 * llama-server takes the last).
 */

const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const QUOTE = 0x22;
const PROGRESS = Buffer.from('{"return_progress":true,');
const ONLY_PROGRESS = Buffer.from('{"return_progress":true');

/** What a body for the engine is made from. */
interface EditedRequest {
  readonly route: EngineRoute;
  readonly stream: boolean;
  readonly work: RequestWork;
}

/** The body as it goes to the engine, with what llamero asks for itself. @param body the caller's, or what continues it. */
export function bodyForEngine(body: Buffer, { route, stream, work }: EditedRequest): Buffer {
  // Of several sequences the progress of one would come amid the tokens of another.
  return stream && work.sequences === 1 && !work.wantsProgress ? askForProgress(body, route) : body;
}

/** Asks the engine to tell how far it has read the prompt: a sign of life, and the exact number of prompt tokens. */
export function askForProgress(body: Buffer, route: EngineRoute): Buffer {
  // The translation of Anthropic's dialect drops what it does not know (`tools/server/server-chat.cpp`).
  if (route.dialect === 'messages') return body;
  const start = body.indexOf(OPEN_BRACE) + 1;
  const hasMembers = body.indexOf(QUOTE, start) !== -1;
  return Buffer.concat([hasMembers ? PROGRESS : ONLY_PROGRESS, body.subarray(start)]);
}

/** Lets the engine generate no more than `maxTokens`, whatever the caller asked for. */
export function limitTokens(body: Buffer, route: EngineRoute, maxTokens: number): Buffer {
  const end = body.lastIndexOf(CLOSE_BRACE);
  const name = route.dialect === 'messages' ? 'max_tokens' : 'n_predict';
  const comma = body.includes(QUOTE) ? ',' : '';
  return Buffer.concat([body.subarray(0, end), Buffer.from(`${comma}"${name}":${maxTokens}}`)]);
}
