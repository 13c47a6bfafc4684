import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { LlameroError } from '../../errors.ts';
import { buildEngine, extraCmakeArguments, withoutGitVariables } from './cmake-build.ts';
import { cpuKey, currentCpu } from './cpu.ts';
import { ENGINE_EXECUTABLE, proveEngine } from './engine-binary.ts';
import { publishInstallation, type CachedEngine } from './installed-engines.ts';
import { ENGINE_TAG, SOURCE_PACKAGE } from './pinned-engine.ts';
import { runCommand } from './run-command.ts';
import { fetchSourceBundle, type FetchSourceOptions } from './source-package.ts';
import { requireBuildTools } from './toolchain.ts';

/** Options of {@link installFromSource}; see {@link FetchSourceOptions}. */
export type InstallFromSourceOptions = FetchSourceOptions;

/**
 * Builds llama-server from the source in an npm package and installs it into the engine cache. The stages (bundle,
 * checkout, objects) stay in `work/` until the end and each gets its name only when complete, so an interrupted
 * installation goes on where it was. The caller holds the installation lock.
 * @param cache the engine cache directory.
 * @throws LlameroError `install_failed` (tools missing, package not to be had, build failed), `cancelled`.
 */
export async function installFromSource(cache: string, options: InstallFromSourceOptions): Promise<CachedEngine> {
  const { env, signal, onProgress, source = SOURCE_PACKAGE } = options;
  await requireBuildTools(env);
  const cpu = await currentCpu();
  const extra = extraCmakeArguments(env);
  const key = buildKey(cpuKey(cpu), extra);
  const work = path.join(cache, 'work', `source-${ENGINE_TAG}`);
  const checkout = await checkOutSource(work, options);
  const logFile = path.join(cache, 'work', `build-${ENGINE_TAG}-${key}.log`);
  const built = await buildEngine({
    source: checkout,
    build: path.join(work, `build-${key}`),
    logFile,
    env,
    signal,
    onProgress,
  });

  onProgress({ step: 'verify', fraction: null, message: 'Starting the new llama-server once' });
  const version = await proveEngine(built, { env, signal });
  const staging = path.join(work, 'staging');
  const executable = path.join('bin', ENGINE_EXECUTABLE);
  await rm(staging, { recursive: true, force: true });
  await mkdir(path.join(staging, 'bin'), { recursive: true });
  await copyFile(built, path.join(staging, executable));
  await chmod(path.join(staging, executable), 0o755);
  await copyFile(logFile, path.join(staging, 'build.log'));
  const { size } = await stat(built);
  const entry = await publishInstallation(staging, path.join(cache, `${ENGINE_TAG}-source-${process.arch}-${key}`), {
    tag: ENGINE_TAG,
    ...version,
    source: 'source',
    from: [`${source.name}@${source.version}`, ...extra],
    checksums: [source.integrity],
    platform: process.platform,
    arch: process.arch,
    cpu,
    executable,
    executableBytes: size,
    installedAt: new Date().toISOString(),
  });
  // Source and objects are 300 MB that nobody needs any more.
  await rm(work, { recursive: true, force: true });
  await rm(logFile, { force: true });
  return entry;
}

/** Clones the bundle; a finished checkout of an earlier run is taken as it is. */
async function checkOutSource(work: string, options: InstallFromSourceOptions): Promise<string> {
  const checkout = path.join(work, 'llama.cpp');
  if (await isDirectory(checkout)) return checkout;
  const bundle = await fetchSourceBundle(work, options);
  options.onProgress({ step: 'clone', fraction: null, message: `Unpacking the source of llama.cpp ${ENGINE_TAG}` });
  const unfinished = `${checkout}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  const result = await runCommand('git', ['-c', 'core.autocrlf=false', 'clone', '--quiet', bundle, unfinished], {
    env: withoutGitVariables(options.env),
    signal: options.signal,
  });
  if (result.code !== 0) {
    // A bundle that git cannot read is not worth keeping for the next attempt.
    await rm(bundle, { force: true });
    throw new LlameroError('install_failed', `git could not unpack llama.cpp's source:\n${result.tail.join('\n')}`);
  }
  await rename(unfinished, checkout);
  return checkout;
}

/** Distinguishes builds for different processors and with different CMake arguments. */
function buildKey(cpu: string, extra: readonly string[]): string {
  if (extra.length === 0) return cpu;
  return `${cpu}-${createHash('sha256').update(extra.join(' ')).digest('hex').slice(0, 8)}`;
}

async function isDirectory(file: string): Promise<boolean> {
  try {
    return (await stat(file)).isDirectory();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
