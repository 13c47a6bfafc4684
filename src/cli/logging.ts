import pino from 'pino';
import type { DestinationStream, Logger } from 'pino';
import type { Config } from '../core/config.ts';
import type { ErrorCode, LlameroError } from '../core/errors.ts';
import type { LlameroEmitter, LlameroEvents } from '../core/events.ts';

/** The log of `llamero serve`, and which of the two formats it has. */
export interface Log {
  readonly logger: Logger;
  readonly format: 'pretty' | 'json';
}

/** Where and how a log is written. */
export interface LogOptions {
  level: Config['log']['level'];
  format: Config['log']['format'];
  /** Whether a person watches: decides what `auto` means, and colours. */
  terminal: boolean;
  /** What takes the lines; default: standard error, written synchronously so that nothing is lost when the process ends. */
  destination?: DestinationStream;
}

/** Makes the logger. The pretty printer is loaded only when it is used; neither of the two starts a worker thread. */
export async function createLog(options: LogOptions): Promise<Log> {
  const format = options.format === 'auto' ? (options.terminal ? 'pretty' : 'json') : options.format;
  const destination = options.destination ?? pino.destination({ fd: 2, sync: true });
  if (format === 'json') {
    return {
      logger: pino({ level: options.level, base: null, formatters: { level: levelName } }, destination),
      format,
    };
  }
  const { prettyFactory } = await import('pino-pretty');
  const pretty = prettyFactory({
    singleLine: true,
    colorize: options.terminal,
    translateTime: 'SYS:HH:MM:ss',
  });
  // The printer as a plain function: its stream would hold lines back that an ending process then loses.
  const stream = { write: (line: string) => destination.write(pretty(line)) };
  return { logger: pino({ level: options.level, base: null }, stream), format };
}

/**
 * Writes a line for each event worth one. Never a prompt, an answer or a key. Only events whose level is on are
 * listened to, so that an emitter without a log costs its callers nothing.
 * @returns a function that detaches the log again.
 */
export function logEvents(logger: Logger, events: LlameroEmitter): () => void {
  const attached: (() => void)[] = [];
  const listen = <Name extends keyof LlameroEvents>(
    level: 'debug' | 'info' | 'warn',
    name: Name,
    listener: (payload: LlameroEvents[Name][0]) => void,
  ) => {
    if (!logger.isLevelEnabled(level)) return;
    // The typed overloads of EventEmitter do not resolve for a generic name.
    const untyped = events as NodeJS.EventEmitter;
    untyped.on(name, listener);
    attached.push(() => untyped.off(name, listener));
  };

  listen('debug', 'request', (fields) => logger.debug(fields, 'request'));
  listen('debug', 'response', (fields) => logger.debug(fields, 'response'));
  listen('info', 'error', ({ error, ...fields }) => {
    const level = error.code === 'cancelled' ? 'debug' : error.status >= 500 ? 'warn' : 'info';
    logger[level]({ ...fields, ...describeError(error) }, level === 'debug' ? 'request cancelled' : 'request failed');
  });
  listen('info', 'rate-limit', (fields) => logger.info(fields, 'request refused: rate limit'));

  listen('warn', 'rate-limit-store', ({ ok, message }) => {
    logger.warn({ ok }, `rate limits: ${message}`);
  });
  listen('info', 'retry', (fields) => logger.info(fields, 'request is sent again'));
  listen('info', 'stream-continued', (fields) => logger.info(fields, 'stream goes on with another engine'));
  listen('warn', 'circuit', (fields) => logger.warn(fields, `circuit ${fields.to}`));
  listen('warn', 'request-suspect', (fields) => {
    logger.warn(fields, fields.refused ? 'request is refused from now on: engines died of it' : 'request is a suspect');
  });
  listen('warn', 'engine-hang', (fields) => logger.warn(fields, 'engine hangs'));
  listen('warn', 'memory', ({ message, ...fields }) => logger.warn(fields, message));

  listen('info', 'engine-start', ({ generation, command, args }) => {
    logger.info({ generation, command }, 'engine starting');
    if (logger.isLevelEnabled('debug')) logger.debug({ generation, args: hideSecrets(args) }, 'engine options');
  });
  listen('info', 'engine-ready', ({ startMs, ...fields }) =>
    logger.info({ ...fields, startMs: Math.round(startMs) }, 'engine ready'),
  );
  listen('info', 'engine-exit', ({ expected, log, ...fields }) => {
    if (expected) logger.info(fields, 'engine stopped');
    else logger.warn({ ...fields, log }, 'engine lost');
  });
  listen('warn', 'engine-backoff', (fields) => logger.warn(fields, 'engine will be started again'));
  listen('info', 'engine-state', (fields) => {
    logger[fields.to === 'failed' ? 'warn' : 'debug'](fields, `engine state: ${fields.to}`);
  });
  listen('debug', 'engine-log', ({ line }) => logger.debug({ engine: line }, 'engine log'));
  return () => {
    for (const detach of attached.splice(0)) detach();
  };
}

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
]);

/** What may be said about a failed request without showing any of its content. */
function describeError(error: LlameroError): Record<string, unknown> {
  const fields: Record<string, unknown> = { code: error.code, status: error.status };
  if (error.param !== undefined) fields['param'] = error.param;
  if (OWN_MESSAGES.has(error.code)) fields['message'] = error.message;
  if (error.code === 'internal_error') fields['at'] = stackFrames(error.cause ?? error);
  return fields;
}

/** Where it was thrown, without the message: the message of a foreign error may quote what it failed at. */
function stackFrames(thrown: unknown): string[] {
  if (!(thrown instanceof Error)) return [];
  const frames = (thrown.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  return [thrown.name, ...frames.slice(0, 8).map((line) => line.trim())];
}

const SECRET_OPTION = /^--?(api-key|hf-token|hft|ssl-key)/;

/** The options of llama-server with the values of those that hold secrets covered. */
function hideSecrets(args: readonly string[]): string[] {
  return args.map((argument, index) => {
    if (SECRET_OPTION.test(argument)) return argument.replace(/=.*/s, '=***');
    return SECRET_OPTION.test(args[index - 1] ?? '') && !(args[index - 1] ?? '').includes('=') ? '***' : argument;
  });
}

function levelName(label: string): { level: string } {
  return { level: label };
}
