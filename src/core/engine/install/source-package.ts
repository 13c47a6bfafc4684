import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { LlameroError } from '../../errors.ts';
import type { OnInstallProgress } from './install-progress.ts';
import { npmFetchOptions } from './npm-configuration.ts';
import { SOURCE_PACKAGE } from './pinned-engine.ts';
import { throwIfCancelled } from './run-command.ts';

/** Options of the fetch. */
export interface FetchSourceOptions {
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
  onProgress: OnInstallProgress;
  /** The package that holds the git bundle; another one only in tests. */
  source?: { name: string; version: string; integrity: string; sizeBytes: number; bundlePath: string };
}

/**
 * Fetches the tarball of the source package, and it alone, from the user's npm registry (or npm's own cache), checks
 * it against the pinned integrity, and takes the git bundle out of it.
 * @returns the path of the bundle in `directory`; it is complete if it exists, so a second call finds it there.
 * @throws LlameroError `install_failed` when the registry cannot be reached or sends other bytes; `cancelled`.
 */
export async function fetchSourceBundle(directory: string, options: FetchSourceOptions): Promise<string> {
  const { signal, source = SOURCE_PACKAGE, onProgress } = options;
  const bundle = path.join(directory, 'source.bundle');
  if (await exists(bundle)) return bundle;
  await mkdir(directory, { recursive: true });
  const tarball = path.join(directory, 'source.tgz');
  try {
    await fetchTarball(tarball, { ...options, source });
    onProgress({ step: 'unpack', fraction: null, message: `Unpacking the source from ${source.name}` });
    await extractFile(tarball, source.bundlePath, bundle);
  } catch (error) {
    throwIfCancelled(signal);
    throw describeFetchError(error, source);
  } finally {
    await rm(tarball, { force: true });
  }
  return bundle;
}

async function fetchTarball(
  file: string,
  { env, signal, onProgress, source }: FetchSourceOptions & { source: NonNullable<FetchSourceOptions['source']> },
): Promise<void> {
  // Loaded here: it is large, and only this rare path needs it.
  const { default: pacote } = await import('pacote');
  const message = `Fetching ${source.name}@${source.version} from the npm registry`;
  onProgress({ step: 'fetch', fraction: 0, message });
  const options = {
    ...(await npmFetchOptions(env, process.cwd())),
    integrity: source.integrity,
    // npm's defaults would try for minutes to reach a registry that is not there.
    fetchRetries: 1,
    fetchRetryMintimeout: 1000,
    fetchRetryMaxtimeout: 5000,
    fetchRetryFactor: 2,
    timeout: 60_000,
    signal,
  };
  await pacote.tarball.stream(
    `${source.name}@${source.version}`,
    async (stream) => {
      let received = 0;
      stream.on('data', (chunk: Buffer) => {
        received += chunk.length;
        onProgress({ step: 'fetch', fraction: Math.min(received / source.sizeBytes, 1), message });
      });
      // The stream checks the integrity at its end and fails if it does not match.
      await pipeline(stream, createWriteStream(file), { signal });
    },
    options,
  );
}

async function extractFile(tarball: string, member: string, target: string): Promise<void> {
  const { extract } = await import('tar');
  const directory = `${target}.unpacking`;
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory);
  await extract({ file: tarball, cwd: directory, filter: (name) => name === member });
  await rename(path.join(directory, member), target);
  await rm(directory, { recursive: true, force: true });
}

function describeFetchError(error: unknown, source: { name: string; version: string }): LlameroError {
  const { code, message } = error as NodeJS.ErrnoException;
  const what = `${source.name}@${source.version}`;
  if (code === 'EINTEGRITY') {
    return new LlameroError(
      'install_failed',
      `The npm registry sent a ${what} that is not the published one (its checksum differs); nothing was built.`,
      { cause: error },
    );
  }
  return new LlameroError('install_failed', `${what} could not be fetched from the npm registry: ${message}`, {
    cause: error,
  });
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
