import pino from 'pino';
import type { DestinationStream, Logger } from 'pino';
import type { Config } from '../core/config.ts';
import type { AlertChange, LlameroEmitter, LlameroEvents, SettledRequest } from '../core/events.ts';
import { RecentLines } from './recent-lines.ts';
import { describeError, harmlessEngineLog, hideSecrets } from './safe-log-fields.ts';

/** The log of `llamero serve`, and which of the two formats it has. */
export interface Log {
  readonly logger: Logger;
  readonly format: 'pretty' | 'json';
  /** The last lines of level info and above as JSON records, oldest first. */
  recentLines(): string[];
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
  const recent = new RecentLines();
  const recentLines = () => recent.list();
  if (format === 'json') {
    const stream = writeTo((line) => {
      if (isCoarse(line)) recent.add(line);
      destination.write(line);
    });
    const logger = pino({ level: options.level, base: null, formatters: { level: levelName } }, stream);
    return { logger, format, recentLines };
  }
  const { prettyFactory } = await import('pino-pretty');
  const pretty = prettyFactory({
    singleLine: true,
    colorize: options.terminal,
    translateTime: 'SYS:HH:MM:ss',
  });
  // The printer as a plain function: its stream would hold lines back that an ending process then loses.
  const stream = writeTo((line) => {
    if (isCoarse(line)) recent.add(line);
    destination.write(pretty(line));
  });
  return { logger: pino({ level: options.level, base: null }, stream), format, recentLines };
}

/** Options of {@link logEvents}. */
export interface EventLogOptions {
  /** Whether the engine's own log is written too, at level debug. It may quote prompts and answers. Default false. */
  readonly engineLog?: boolean;
}

/**
 * Writes a line for each event worth one, each with the id of its request; the one about its end has the id of its trace
 * too. Never a prompt, an answer or a key, unless the engine's log is asked for. Only events whose level is on are listened to, so
 * that an emitter without a log costs its callers nothing.
 * @returns a function that detaches the log again.
 */
export function logEvents(logger: Logger, events: LlameroEmitter, options: EventLogOptions = {}): () => void {
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
  listen('info', 'settled', (settled) => logSettled(logger, settled));
  // Anybody who reaches the port can cause it, any number of times; at other levels the metric tells.
  listen('debug', 'request-refused', ({ id, route, error: { code, status } }) => {
    logger.debug({ id, route, code, status }, 'request refused before it entered');
  });
  listen('info', 'rate-limit', (fields) => logger.info(fields, 'request refused: rate limit'));

  listen('warn', 'rate-limit-store', ({ ok, message }) => {
    logger.warn({ ok }, `rate limits: ${message}`);
  });
  listen('info', 'retry', (fields) => logger.info(fields, 'request is sent again'));
  listen('info', 'stream-continued', (fields) => logger.info(fields, 'stream goes on with another engine'));
  listen('warn', 'stream-truncated', (fields) => {
    logger.warn(fields, 'a stream was cut although it was ended as complete: please report this');
  });
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
  /** Engines that have taken requests, and have not ended: while one takes the place of another there are two. */
  const ready = new Set<number>();
  listen('warn', 'engine-ready', ({ startMs, ...fields }) => {
    ready.add(fields.generation);
    logger.info({ ...fields, startMs: Math.round(startMs) }, 'engine ready');
  });
  listen('info', 'engine-replacement', ({ ok, message, durationMs, ...fields }) => {
    logger[ok ? 'info' : 'warn']({ ...fields, durationMs: Math.round(durationMs) }, `planned restart: ${message}`);
  });
  listen('warn', 'engine-exit', ({ expected, log, ...fields }) => {
    const wasReady = ready.delete(fields.generation);
    if (expected) logger.info(fields, 'engine stopped');
    else logger.warn({ ...fields, log: harmlessEngineLog(log, wasReady) }, 'engine lost');
  });
  listen('warn', 'engine-backoff', (fields) => logger.warn(fields, 'engine will be started again'));
  listen('info', 'engine-state', (fields) => {
    logger[fields.to === 'failed' ? 'warn' : 'debug'](fields, `engine state: ${fields.to}`);
  });
  if (options.engineLog === true) {
    listen('debug', 'engine-log', ({ line }) => logger.debug({ engine: line }, 'engine log'));
  }
  listen('warn', 'event-loop-stall', (fields) => logger.warn(fields, 'event loop stalled'));
  listen('warn', 'alert', (change) => logAlert(logger, change));
  return () => {
    for (const detach of attached.splice(0)) detach();
  };
}

/** Warned of when it fires, told when it is over; pino keeps `name` for itself. */
function logAlert(
  logger: Logger,
  { name, state, severity, labels, description, value, since, runbook }: AlertChange,
): void {
  const level = state === 'firing' ? 'warn' : state === 'resolved' ? 'info' : 'debug';
  logger[level]({ alert: name, state, severity, labels, description, value, since, runbook }, `alert ${state}`);
}

/** The end of a request: at debug when it went well or was cancelled, else where somebody looks. */
function logSettled(logger: Logger, settled: SettledRequest): void {
  const { error, trace, id, route, stream, totalMs, ...measured } = settled;
  const level = error === null || error.code === 'cancelled' ? 'debug' : error.status >= 500 ? 'warn' : 'info';
  if (!logger.isLevelEnabled(level)) return;
  const request = { id, ...(trace === null ? {} : { traceId: trace.traceId }), route, stream };
  if (error === null) logger.debug({ ...request, ...measured, totalMs }, 'response');
  else {
    const end = level === 'debug' ? 'request cancelled' : 'request failed';
    logger[level]({ ...request, totalMs, ...describeError(error) }, end);
  }
}

/** Whether a record of pino is of level info or above; in its JSON the level comes first. */
function isCoarse(line: string): boolean {
  return /^\{"level":("(info|warn|error|fatal)"|[3-6]0)/.test(line);
}

/** A destination for pino that is a function. */
function writeTo(write: (line: string) => void): DestinationStream {
  return { write };
}

function levelName(label: string): { level: string } {
  return { level: label };
}
