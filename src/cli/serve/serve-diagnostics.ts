import path from 'node:path';
import type { Logger } from 'pino';
import { cacheDirectory } from '../../core/engine/install/cache-directory.ts';
import { toLlameroError } from '../../core/errors.ts';
import type { LlameroEmitter } from '../../core/events.ts';
import { Diagnostics } from '../../telemetry/diagnostics.ts';
import { watchEventLoop } from '../../telemetry/event-loop-stalls.ts';
import type { Log } from '../logging.ts';

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
  const diagnostics = new Diagnostics({
    folder: debugFolder(env),
    recentLog: () => log?.recentLines() ?? [],
    onFile: (file) => log?.logger.info({ ...file }, 'debug file written'),
  });
  const onSignal = () => {
    diagnostics.heapSnapshot().catch((error: unknown) => logFailure(log?.logger, error));
  };
  const isWindows = process.platform === 'win32';
  if (!isWindows) process.on('SIGUSR2', onSignal);
  return {
    diagnostics,
    logTo(opened, events) {
      log = opened;
      // Not earlier: until then modules are loaded, which takes its time.
      events.once('engine-ready', () => {
        stopWatching ??= watchEventLoop({ events, stacks: env['LLAMA_DEBUG'] === 'true' });
      });
    },
    [Symbol.dispose]() {
      stopWatching?.();
      if (!isWindows) process.off('SIGUSR2', onSignal);
    },
  };
}

function logFailure(logger: Logger | undefined, thrown: unknown): void {
  const { code, message } = toLlameroError(thrown);
  logger?.warn({ code }, `no heap snapshot: ${message}`);
}
