import { type ErrorCode, LlameroError } from '../core/errors.ts';

/** What of errors, engine options and engine logs may be logged: nothing that quotes a prompt, an answer or a secret. */

/** Codes whose messages are written by llamero alone. Other messages may quote a request, an answer or a path. */
const OWN_MESSAGES: ReadonlySet<ErrorCode> = new Set([
  'invalid_api_key',
  'permission_denied',
  'method_not_allowed',
  'request_too_large',
  'request_timeout',
  'rate_limit_exceeded',
  'queue_full',
  'queue_timeout',
  'memory_pressure',
  'engine_starting',
  'engine_unavailable',
  'circuit_open',
  'poisonous_request',
  'stream_interrupted',
  'deadline_exceeded',
  'already_running',
]);

/** What may be said about a failed request without showing any of its content. */
export function describeError(error: LlameroError): Record<string, unknown> {
  const fields: Record<string, unknown> = { code: error.code, status: error.status };
  if (error.param !== undefined) fields['param'] = error.param;
  if (isOwnMessage(error)) fields['message'] = error.message;
  if (error.code === 'internal_error') fields['at'] = stackFrames(error.cause ?? error);
  return fields;
}

/** The message of a stream that broke may be that of what broke it, an error of the engine for example. */
function isOwnMessage({ code, cause }: LlameroError): boolean {
  return OWN_MESSAGES.has(code) && !(cause instanceof LlameroError && !OWN_MESSAGES.has(cause.code));
}

/** Where it was thrown, without the message: the message of a foreign error may quote what it failed at. */
function stackFrames(thrown: unknown): string[] {
  if (!(thrown instanceof Error)) return [];
  const frames = (thrown.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  return [thrown.name, ...frames.slice(0, 8).map((line) => line.trim())];
}

const SECRET_OPTION = /^--?(api-key|hf-token|hft|ssl-key)/;

/** The options of llama-server with the values of those that hold secrets covered. */
export function hideSecrets(args: readonly string[]): string[] {
  return args.map((argument, index) => {
    if (SECRET_OPTION.test(argument)) return argument.replace(/=.*/s, '=***');
    return SECRET_OPTION.test(args[index - 1] ?? '') && !(args[index - 1] ?? '').includes('=') ? '***' : argument;
  });
}

/** The line after which llama-server takes requests. */
const LISTENING = /^\S+ I srv +llama_server: listening on /;

/**
 * Shapes of lines that quote no request, each cut where it might begin to: numbers of the slots, failed assertions,
 * failed allocations, the way of an exception, the functions of a backtrace. Texts of llama.cpp v0.5.0.
 */
const HARMLESS: readonly RegExp[] = [
  /^\S+ [DIWE] slot +(get_availabl|launch_slot_|print_timing|release): .*/,
  /^[\w./\\: -]+\.\w+:\d+: (GGML_ASSERT\(.*\) failed|fatal error)$/,
  /^[\w.:()\- ]*(failed to allocate|unable to allocate|out of memory|cudaMalloc failed|CUDA error|ErrorOutOfDeviceMemory)[^"{]*/i,
  /^terminate called after throwing an instance of '[\w:]+'/,
  /^#\d+ +(0x[0-9a-f]+ in )?[\w:~<>]+/,
];

/**
 * The last lines of an engine's log, without those that may quote a request: llama-server prints grammars that it cannot
 * read, and errors with their cause. What it said before it took requests stands as it is.
 * @param wasReady whether the engine has taken requests at all. Pure.
 */
export function harmlessEngineLog(lines: readonly string[], wasReady: boolean): string[] {
  if (!wasReady) return [...lines];
  const listening = lines.findIndex((line) => LISTENING.test(line));
  const said = lines.slice(listening + 1);
  const harmless = said.flatMap((line) => {
    // The shortest of what the shapes leave of it.
    const found = HARMLESS.map((shape) => shape.exec(line)?.[0]).filter((text) => text !== undefined);
    return found.length === 0 ? [] : [found.reduce((a, b) => (a.length <= b.length ? a : b))];
  });
  const left = said.length - harmless.length;
  const note = left === 0 ? [] : [`(${left} lines that may quote requests are not shown; LLAMA_DEBUG=true shows them)`];
  return [...lines.slice(0, listening + 1), ...harmless, ...note];
}
