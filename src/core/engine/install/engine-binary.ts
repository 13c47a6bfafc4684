import { LlameroError } from '../../errors.ts';
import { parseEngineVersion, type EngineVersion } from './engine-version.ts';
import { runCommand } from './run-command.ts';

/** A llama-server that is there and answered with its version. */
export interface EngineBinary extends EngineVersion {
  /** Absolute path of the executable. */
  path: string;
  /** Where it was found: a given path, `LLAMA_SERVER_PATH`, `PATH`, or llamero's cache. */
  origin: 'option' | 'environment' | 'path' | 'cache';
  /** How it came into the cache: official archive, or built here. Only with origin `cache`. */
  source?: 'release' | 'source';
}

/** The file name of the program on this platform. */
export const ENGINE_EXECUTABLE = process.platform === 'win32' ? 'llama-server.exe' : 'llama-server';

const VERSION_TIMEOUT_MS = 15_000;

/**
 * Runs `llama-server --version`: the proof that a file works on this machine.
 * @throws LlameroError `engine_unavailable` naming the path and what is wrong with it; `cancelled`.
 */
export async function readEngineVersion(
  file: string,
  options: { env: NodeJS.ProcessEnv; signal?: AbortSignal; timeoutMs?: number },
): Promise<EngineVersion> {
  const timeoutMs = options.timeoutMs ?? VERSION_TIMEOUT_MS;
  const refuse = (what: string, cause?: unknown) =>
    new LlameroError('engine_unavailable', `${file} ${what}`, { cause });
  let version: EngineVersion | null = null;
  let result;
  try {
    result = await runCommand(file, ['--version'], {
      env: options.env,
      signal: options.signal,
      timeoutMs,
      onLine: (line) => {
        version ??= parseEngineVersion(line);
      },
    });
  } catch (error) {
    if (error instanceof LlameroError) throw error;
    throw refuse(describeSpawnError(error as NodeJS.ErrnoException), error);
  }
  if (result.timedOut) throw refuse(`did not answer --version within ${timeoutMs / 1000} s`);
  if (result.signal === 'SIGILL') throw refuse('was built for another CPU (illegal instruction)');
  if (result.signal !== null) throw refuse(`died of ${result.signal} when asked for its version`);
  const said = result.tail.at(-1)?.trim() ?? '';
  if (result.code !== 0) throw refuse(`failed when asked for its version (exit code ${result.code}): ${said}`);
  if (version === null) throw refuse(`does not answer --version as a llama-server does${said ? `: ${said}` : ''}`);
  return version;
}

/**
 * {@link readEngineVersion} for something just installed.
 * @throws LlameroError `install_failed` when it does not run on this machine, `cancelled`.
 */
export async function proveEngine(
  file: string,
  options: { env: NodeJS.ProcessEnv; signal?: AbortSignal },
): Promise<EngineVersion> {
  try {
    return await readEngineVersion(file, options);
  } catch (error) {
    if (!(error instanceof LlameroError) || error.code === 'cancelled') throw error;
    throw new LlameroError(
      'install_failed',
      `The installed llama-server does not run on this machine: ${error.message}`,
      {
        cause: error,
      },
    );
  }
}

function describeSpawnError(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ENOENT':
      return 'does not exist';
    case 'EACCES':
      return 'is not executable';
    case 'ENOEXEC':
    case 'UNKNOWN':
      return 'is not a program for this platform';
    default:
      return `cannot be started: ${error.message}`;
  }
}
