import { closeSync, openSync } from 'node:fs';
import type { Logger } from 'pino';
import type { Config } from '../../core/config.ts';
import { LlameroError, toLlameroError } from '../../core/errors.ts';
import type { LlamaCppProvider } from '../../core/llm/llama-cpp-provider.ts';
import type { Configuration } from '../configuration.ts';
import { builtInModel } from './built-in-model.ts';
import { planReload } from './plan-reload.ts';

export interface ReloadOptions {
  /** What the server was started with. */
  readonly configuration: Configuration;
  /** Reads everything again: flags, environment and file. @throws LlameroError `invalid_options`. */
  readonly read: () => Configuration;
  readonly provider: Pick<LlamaCppProvider, 'restartEngine'>;
  readonly logger: Logger;
  /** The terminal that llamero was started in is gone. */
  readonly onHangup: () => void;
  readonly env: NodeJS.ProcessEnv;
}

/**
 * SIGHUP: the configuration file is read again, and the engine is replaced without losing a request where its settings or the
 * model have changed. A file with a mistake changes nothing. There is no such signal on Windows. A terminal that is closed sends it
 * too: then it means what it always meant.
 */
export function listenForReload(options: ReloadOptions): Disposable {
  if (process.platform === 'win32') return { [Symbol.dispose]: () => undefined };
  const hadTerminal = hasTerminal();
  let present = options.configuration.config;
  let running: Promise<void> | null = null;
  let isAskedAgain = false;
  const run = async (): Promise<void> => {
    do {
      isAskedAgain = false;
      present = await reload(present, options);
    } while (isAskedAgain);
    running = null;
  };
  const onSignal = (): void => {
    if (hadTerminal && !hasTerminal()) {
      options.onHangup();
      return;
    }
    isAskedAgain = true;
    running ??= run();
  };
  process.on('SIGHUP', onSignal);
  return { [Symbol.dispose]: () => void process.off('SIGHUP', onSignal) };
}

/** Whether the process has a controlling terminal; one that was closed cannot be opened any more (tty(4)). */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    // ENXIO: there is none, or none any more.
    return false;
  }
}

/** @returns the configuration that is in force afterwards. Never rejects. */
async function reload(present: Config, { read, provider, logger, env }: ReloadOptions): Promise<Config> {
  let next: Config;
  try {
    next = read().config;
  } catch (error) {
    logger.error({ error: toLlameroError(error).message }, 'configuration not read again; it stays as it is');
    return present;
  }
  const { engineKeys, otherKeys } = planReload(present, next);
  if (otherKeys.length > 0) logger.warn({ keys: otherKeys }, 'changed keys that need a restart of llamero itself');
  if (engineKeys.length === 0) {
    logger.info('configuration read again; nothing of the engine has changed, and it goes on');
    return present;
  }
  logger.info({ keys: engineKeys }, 'configuration read again; the engine is replaced');
  try {
    const model = next.model ?? (await builtInModel(env));
    await provider.restartEngine({ model, engine: next.engine });
    return { ...present, model: next.model, engine: next.engine };
  } catch (thrown) {
    const error = toLlameroError(thrown);
    // What the preparation failed for is told in full on this machine.
    const { message } = error.cause instanceof LlameroError ? error.cause : error;
    logger.error({ error: message }, 'engine not replaced; its settings stay as they are');
    return present;
  }
}
