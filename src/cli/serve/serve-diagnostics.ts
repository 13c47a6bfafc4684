import path from 'node:path';
import type { Logger } from 'pino';
import { cacheDirectory } from '../../core/engine/install/cache-directory.ts';
import { toLlameroError } from '../../core/errors.ts';
import type { LlameroEmitter } from '../../core/events.ts';
import { Diagnostics } from '../../telemetry/diagnostics.ts';
import type { Log } from '../logging.ts';
import { RecentLines } from '../recent-lines.ts';
import { harmlessEngineLog } from '../safe-log-fields.ts';

/** What `llamero serve` has for whoever debugs it. */
export interface ServeDiagnostics extends Disposable {
  readonly diagnostics: Diagnostics;
  /** From here on there is a log; stalls of the event loop are told once the engine is ready. */
  logTo(log: Log, events: LlameroEmitter): void;
}

/** Where heap snapshots and CPU profiles are written: `debug` in llamero's cache directory. */
export function debugFolder(env: NodeJS.ProcessEnv): string {
  return path.join(cacheDirectory(env), 'debug');
}

/**
 * The diagnostics of this process, and a heap snapshot at each SIGUSR2; not on Windows, which has no such signal. Called before
 * anything takes its time, since SIGUSR2 ends a process that does not listen to it.
 */
export function serveDiagnostics(env: NodeJS.ProcessEnv): ServeDiagnostics {
  let log: Log | undefined;
  let stopWatching: (() => void) | undefined;
  let disposed = false;
  const engineLines = new RecentLines();
  let engineWasReady = false;
  const diagnostics = new Diagnostics({
    folder: debugFolder(env),
    recentLog: () => log?.recentLines() ?? [],
    recentEngineLog: () => harmlessEngineLog(engineLines.list(), engineWasReady),
    onFile: (file) => log?.logger.info({ ...file }, 'debug file written'),
  });
  const onSignal = () => {
    diagnostics.heapSnapshot().catch((error: unknown) => logFailure(log?.logger, error));
  };
  const watchForStalls = async (events: LlameroEmitter) => {
    const { watchEventLoop } = await import('../../telemetry/event-loop-stalls.ts');
    if (!disposed) stopWatching = watchEventLoop({ events, stacks: env['LLAMA_DEBUG'] === 'true' });
  };
  const isWindows = process.platform === 'win32';
  if (!isWindows) process.on('SIGUSR2', onSignal);
  return {
    diagnostics,
    logTo(opened, events) {
      log = opened;
      let newest = 0;
      events.on('engine-start', ({ generation }) => {
        engineLines.clear();
        engineWasReady = false;
        newest = generation;
      });
      events.on('engine-ready', ({ generation }) => (engineWasReady ||= generation === newest));
      // One that ends while another takes its place has taken requests, which this one has not.
      events.on('engine-log', ({ generation, line }) => {
        if (generation === newest) engineLines.add(line);
      });
      // Not earlier: until then modules are loaded, which takes its time.
      events.once('engine-ready', () => void watchForStalls(events));
    },
    [Symbol.dispose]() {
      disposed = true;
      stopWatching?.();
      if (!isWindows) process.off('SIGUSR2', onSignal);
    },
  };
}

function logFailure(logger: Logger | undefined, thrown: unknown): void {
  const { code, message } = toLlameroError(thrown);
  logger?.warn({ code }, `no heap snapshot: ${message}`);
}
