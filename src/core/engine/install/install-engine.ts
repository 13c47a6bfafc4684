import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { LlameroError } from '../../errors.ts';
import { withFileLock } from '../download/file-lock.ts';
import { engineCacheDirectory } from './cache-directory.ts';
import type { EngineBinary } from './engine-binary.ts';
import type { OnInstallProgress } from './install-progress.ts';
import { installFromRelease, type ReleaseTimeouts } from './install-release.ts';
import { installFromSource, type InstallFromSourceOptions } from './install-source.ts';
import { toEngineBinary, type CachedEngine } from './installed-engines.ts';
import { locateEngine, locateInCache } from './locate-engine.ts';
import { ENGINE_TAG } from './pinned-engine.ts';

/** Options of {@link installEngine}. */
export interface InstallEngineOptions {
  /**
   * `release`: the official archive; `source`: built here; `auto`: the archive, and where that cannot be had or does
   * not run here, the build.
   */
  from: 'auto' | 'release' | 'source';
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
  onProgress?: OnInstallProgress;
  /** Installs again although a usable installation is there. Default false. */
  force?: boolean;
  /** Age at which the lock of another process counts as left behind, in ms. Default 10,000. */
  lockStaleMs?: number;
  /** Deadlines of the archive's download. */
  timeouts?: Partial<ReleaseTimeouts>;
  /** Another source package; for tests. */
  source?: InstallFromSourceOptions['source'];
}

/** A build keeps the machine so busy that its lock may be refreshed late. */
const LOCK_STALE_MS = 10_000;

/**
 * Installs the pinned llama-server into llamero's cache, or returns the installation that is there. Only one process
 * installs at a time: the others wait, say so, and then use what the first one installed.
 * @throws LlameroError `install_failed` with what to do about it; `cancelled`.
 */
export async function installEngine(options: InstallEngineOptions): Promise<EngineBinary> {
  const { from, env, signal, force = false, onProgress = () => undefined } = options;
  const wanted = from === 'auto' ? undefined : from;
  const present = async () => (force ? null : locateInCache(env, signal, wanted));
  const found = await present();
  if (found !== null) return found;
  const cache = engineCacheDirectory(env);
  await mkdir(cache, { recursive: true });
  return withFileLock(
    cache,
    {
      signal,
      lockPath: path.join(cache, 'install.lock'),
      staleMs: options.lockStaleMs ?? LOCK_STALE_MS,
      onWait: (waitedMs) =>
        onProgress({
          step: 'wait',
          fraction: null,
          message: `Another process is installing llama-server; waiting (${Math.round(waitedMs / 1000)} s)`,
        }),
    },
    async (lockSignal) => {
      const installedMeanwhile = await present();
      if (installedMeanwhile !== null) return installedMeanwhile;
      return toEngineBinary(await install(cache, { ...options, onProgress, signal: lockSignal }));
    },
  );
}

/**
 * A llama-server in any way: located as {@link locateEngine} does, else installed.
 * @throws LlameroError `invalid_options` for a given path that does not work, `install_failed`, `cancelled`.
 */
export async function obtainEngine(
  options: Omit<InstallEngineOptions, 'from' | 'force'> & { command?: string },
): Promise<EngineBinary> {
  return (await locateEngine(options)) ?? (await installEngine({ ...options, from: 'auto' }));
}

type PreparedOptions = InstallEngineOptions & { onProgress: OnInstallProgress };

async function install(cache: string, options: PreparedOptions): Promise<CachedEngine> {
  const { from, onProgress } = options;
  if (from === 'source') return installFromSource(cache, options);
  let releaseError: LlameroError;
  try {
    return await installFromRelease(cache, options);
  } catch (error) {
    if (from === 'release' || !(error instanceof LlameroError) || error.code === 'cancelled') throw error;
    releaseError = error;
  }
  onProgress({ step: 'note', fraction: null, message: `${releaseError.message} Building from source instead.` });
  try {
    return await installFromSource(cache, options);
  } catch (error) {
    if (!(error instanceof LlameroError) || error.code === 'cancelled') throw error;
    throw new LlameroError(
      'install_failed',
      `llama-server ${ENGINE_TAG} could not be installed.\nArchive: ${releaseError.message}\nSource: ${error.message}`,
      { cause: error, details: error.details },
    );
  }
}
