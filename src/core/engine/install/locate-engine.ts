import path from 'node:path';
import { LlameroError } from '../../errors.ts';
import { engineCacheDirectory } from './cache-directory.ts';
import { ENGINE_EXECUTABLE, readEngineVersion, type EngineBinary } from './engine-binary.ts';
import { tooOldReason } from './engine-version.ts';
import { findOnPath } from './find-on-path.ts';
import type { OnInstallProgress } from './install-progress.ts';
import { readInstalledEngines, toEngineBinary } from './installed-engines.ts';
import { ENGINE_TAG } from './pinned-engine.ts';

/** Options of {@link locateEngine}. */
export interface LocateEngineOptions {
  /** `auto`, or the path (or a name on `PATH`) of the llama-server to use and no other. Default `auto`. */
  command?: string;
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
  /** Told why a llama-server on `PATH` was passed over. */
  onProgress?: OnInstallProgress;
}

/**
 * Finds a llama-server that works: the given command, else `LLAMA_SERVER_PATH`, else `PATH`, else llamero's cache.
 * One that was named (command or `LLAMA_SERVER_PATH`) is used or refused, never passed over; one that merely lies on
 * `PATH` and does not work or is too old is passed over with a note. From the cache only the pinned version counts.
 * @returns null when there is none.
 * @throws LlameroError `invalid_options` naming a given path that does not work or is too old; `cancelled`.
 */
export async function locateEngine(options: LocateEngineOptions): Promise<EngineBinary | null> {
  const { command = 'auto', env, signal } = options;
  if (command !== 'auto') return examine(await resolveCommand(command, env), 'option', options);
  const named = env['LLAMA_SERVER_PATH'];
  if (named) return examine(await resolveCommand(named, env), 'environment', options);
  return (await locateOnPath(options)) ?? (await locateInCache(env, signal));
}

/** The newest usable installation of the pinned version in llamero's cache; null if there is none. */
export async function locateInCache(
  env: NodeJS.ProcessEnv,
  signal?: AbortSignal,
  source?: 'release' | 'source',
): Promise<EngineBinary | null> {
  signal?.throwIfAborted();
  const engines = await readInstalledEngines(engineCacheDirectory(env));
  const match = engines.find(
    ({ usable, installed }) =>
      usable && installed.tag === ENGINE_TAG && (source === undefined || installed.source === source),
  );
  return match === undefined ? null : toEngineBinary(match);
}

/**
 * Every llama-server in reach: environment, `PATH`, and all of the cache that runs here, of any version.
 * What does not work is left out, with a note to `onProgress`.
 */
export async function listEngines(options: Omit<LocateEngineOptions, 'command'>): Promise<EngineBinary[]> {
  const { env } = options;
  const named = env['LLAMA_SERVER_PATH'];
  const fromEnvironment = named ? await examineOrPass(await resolveCommand(named, env), 'environment', options) : null;
  const cached = (await readInstalledEngines(engineCacheDirectory(env))).filter(({ usable }) => usable);
  return [fromEnvironment, await locateOnPath(options), ...cached.map((entry) => toEngineBinary(entry))].filter(
    (engine) => engine !== null,
  );
}

async function locateOnPath(options: LocateEngineOptions): Promise<EngineBinary | null> {
  const found = await findOnPath('llama-server', options.env);
  return found === null ? null : examineOrPass(found, 'path', options);
}

async function examineOrPass(
  file: string,
  origin: EngineBinary['origin'],
  { env, signal, onProgress }: LocateEngineOptions,
): Promise<EngineBinary | null> {
  try {
    return await examine(file, origin, { env, signal });
  } catch (error) {
    if (!(error instanceof LlameroError) || error.code === 'cancelled') throw error;
    onProgress?.({ step: 'note', fraction: null, message: `Not used: ${error.message}` });
    return null;
  }
}

async function examine(
  file: string,
  origin: EngineBinary['origin'],
  options: { env: NodeJS.ProcessEnv; signal?: AbortSignal },
): Promise<EngineBinary> {
  const where = { option: 'engine.command', environment: 'LLAMA_SERVER_PATH', path: 'PATH', cache: 'cache' }[origin];
  let version;
  try {
    version = await readEngineVersion(file, options);
  } catch (error) {
    if (!(error instanceof LlameroError) || error.code === 'cancelled') throw error;
    throw new LlameroError('invalid_options', `llama-server of ${where}: ${error.message}`, {
      cause: error,
      param: where,
    });
  }
  const tooOld = tooOldReason(version);
  if (tooOld !== null) {
    throw new LlameroError('invalid_options', `llama-server of ${where}: ${file}: ${tooOld}`, {
      param: where,
      details: { version: version.version },
    });
  }
  return { path: file, ...version, origin };
}

/** A bare name is looked up on `PATH`, anything else is a path; a directory stands for the program in it. */
async function resolveCommand(command: string, env: NodeJS.ProcessEnv): Promise<string> {
  const isBareName = !command.includes('/') && !command.includes(path.sep);
  if (isBareName) return (await findOnPath(command, env)) ?? path.resolve(command);
  return path.resolve(
    command.endsWith('/') || command.endsWith(path.sep) ? path.join(command, ENGINE_EXECUTABLE) : command,
  );
}
