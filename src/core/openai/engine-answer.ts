import { isUtf8 } from 'node:buffer';
import { type ErrorCode, LlameroError } from '../errors.ts';
import { isWholeJson } from './json-scan.ts';

/**
 * Checks a whole answer of the engine without parsing it, which would cost more than all else that llamero does to it.
 * @throws LlameroError `engine_bad_response` when it is not UTF-8, or not one whole JSON value.
 */
export function checkAnswer(body: Buffer): void {
  if (!isUtf8(body) || !isWholeJson(body)) throw notJson();
}

/** Reads a whole answer of the engine. @throws LlameroError `engine_bad_response` when it is not JSON. */
export function parseAnswer(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    throw notJson();
  }
}

function notJson(): LlameroError {
  return new LlameroError('engine_bad_response', 'The engine answered something that is not JSON.');
}

/**
 * Faults of the request that llama-server reports as its own: it answers 500 to every exception but `invalid_argument`
 * (`tools/server/server.cpp`, `ex_wrapper`). Found by sending it nonsense.
 */
const FAULTS_OF_REQUEST = [
  /^\[json\.exception\./,
  /^Failed to parse (messages|tools)/,
  /input is not supported/,
  /^'messages' is required/,
  /^"prompt" /,
  /^Unknown reasoning format/,
  // Token ids that do not exist: std::out_of_range of libstdc++ and libc++.
  /^vector(::|\b)/,
];

/**
 * What an error of the engine means to the caller. llama-server's errors are `{"error": {code, message, type}}`
 * (`tools/server/server-common.cpp`, `format_error_response`); its message is passed on.
 */
export function engineFailure(status: number, body: Buffer): LlameroError {
  const error = errorFields(body);
  const message = withoutRequest(error.message ?? `The engine answered with status ${status}.`);
  if (error.type === 'exceed_context_size_error') {
    const { promptTokens, contextLength } = error;
    return new LlameroError('context_length_exceeded', message, { details: { promptTokens, contextLength } });
  }
  // An embedding input that does not fit one physical batch is reported as a failure of the server, which it is not.
  const tooLarge = /^input \((\d+) tokens\) is too large to process.*\(current batch size: (\d+)\)/.exec(message);
  if (tooLarge !== null) {
    const [promptTokens, contextLength] = [Number(tooLarge[1]), Number(tooLarge[2])];
    const text = `The input has ${promptTokens} tokens; the engine takes at most ${contextLength} in one embedding.`;
    return new LlameroError('context_length_exceeded', text, {
      param: 'input',
      details: { promptTokens, contextLength },
    });
  }
  const details = { engineStatus: status, engineType: error.type };
  // A bad key or a refusal between llamero and the engine is nothing the caller could mend.
  if (status === 401 || status === 403)
    return new LlameroError('engine_unavailable', 'The engine refused llamero.', { details });
  if (status === 503) return new LlameroError('engine_starting', message, { details, retryAfterMs: 1000 });
  const callersFault =
    (status >= 400 && status < 500) || status === 501 || FAULTS_OF_REQUEST.some((fault) => fault.test(message));
  const code: ErrorCode = callersFault ? 'invalid_request' : 'engine_error';
  return new LlameroError(code, message, { details });
}

/** The same for an error that the engine reported inside a stream: the value of the event's `error`. */
export function streamFailure(error: unknown): LlameroError {
  const body = Buffer.from(JSON.stringify({ error }));
  return engineFailure(errorFields(body).code ?? 500, body);
}

/** Some messages quote the request at their end; errors never show prompts. */
function withoutRequest(message: string): string {
  return message.replace(/(; tools = |in message: |type: )[\s\S]*$/, '$1…');
}

interface EngineErrorFields {
  message?: string | undefined;
  type?: string | undefined;
  code?: number | undefined;
  promptTokens?: number | undefined;
  contextLength?: number | undefined;
}

function errorFields(body: Buffer): EngineErrorFields {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    // Some failures of the HTTP layer have no body, or a plain text.
    return {};
  }
  const error = (parsed as { error?: unknown } | null)?.error;
  if (typeof error === 'string') return { message: error };
  if (typeof error !== 'object' || error === null) return {};
  const fields = error as Record<string, unknown>;
  return {
    message: typeof fields['message'] === 'string' ? fields['message'] : undefined,
    type: typeof fields['type'] === 'string' ? fields['type'] : undefined,
    code: typeof fields['code'] === 'number' ? fields['code'] : undefined,
    promptTokens: typeof fields['n_prompt_tokens'] === 'number' ? fields['n_prompt_tokens'] : undefined,
    contextLength: typeof fields['n_ctx'] === 'number' ? fields['n_ctx'] : undefined,
  };
}
