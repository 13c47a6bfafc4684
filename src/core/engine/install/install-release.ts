import { open, readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { LlameroError } from '../../errors.ts';
import { downloadFile } from '../download/download-file.ts';
import { detectAccelerators } from './accelerator.ts';
import { ENGINE_EXECUTABLE, proveEngine } from './engine-binary.ts';
import type { OnInstallProgress } from './install-progress.ts';
import { publishInstallation, type CachedEngine } from './installed-engines.ts';
import { ENGINE_TAG } from './pinned-engine.ts';
import { archiveVariant, chooseArchives, type ReleaseTarget } from './release-archive.ts';
import {
  connectReleaseServer,
  describeNetworkError,
  RELEASE_TIMEOUTS,
  releaseFiles,
  type ReleaseFile,
  type ReleaseServer,
  type ReleaseTimeouts,
} from './release-index.ts';
import { unpackArchive } from './unpack-archive.ts';

export type { ReleaseTimeouts } from './release-index.ts';

/** Options of {@link installFromRelease}. */
export interface InstallFromReleaseOptions {
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
  onProgress: OnInstallProgress;
  timeouts?: Partial<ReleaseTimeouts>;
}

/**
 * Installs the official archive of the pinned version for this machine: download (continued where it was), checksum,
 * unpack, a start of the program as proof, and one rename as the last step. The caller holds the installation lock.
 * @param cache the engine cache directory.
 * @throws LlameroError `install_failed`, `cancelled`.
 */
export async function installFromRelease(cache: string, options: InstallFromReleaseOptions): Promise<CachedEngine> {
  const { env, signal, onProgress } = options;
  const target = await currentTarget(env);
  const server = connectReleaseServer(env, { ...RELEASE_TIMEOUTS, ...options.timeouts });
  try {
    onProgress({ step: 'note', fraction: null, message: `Asking ${server.name} for llama.cpp ${ENGINE_TAG}` });
    const release = await releaseFiles(server, ENGINE_TAG, signal);
    const archives = chooseArchives(
      release.files.map((file) => file.name),
      target,
    );
    if (archives === null) {
      throw new LlameroError('install_failed', `llama.cpp ${ENGINE_TAG} has no archive for ${describeTarget(target)}.`);
    }
    onProgress({
      step: 'note',
      fraction: null,
      message: `llama.cpp ${ENGINE_TAG} (${release.tag}) for ${describeTarget(target)}, ${archives.accelerator}`,
    });
    const files = archives.names.flatMap((name) => release.files.filter((file) => file.name === name));
    return await unpackAndPublish(cache, await downloadAll(cache, files, server, options), files, options);
  } finally {
    await server.close();
  }
}

async function downloadAll(
  cache: string,
  files: readonly ReleaseFile[],
  server: ReleaseServer,
  { signal, onProgress }: InstallFromReleaseOptions,
): Promise<string[]> {
  const targets: string[] = [];
  for (const file of files) {
    const target = path.join(cache, 'work', file.name);
    await downloadFile({
      url: new URL(file.url),
      target,
      label: `${file.name} from ${server.name}`,
      client: server,
      checksum: { algorithm: 'sha256', hex: file.sha256 },
      bytes: file.sizeBytes,
      // Whoever cannot have the archive builds: better soon than late.
      futileAttempts: 2,
      // The caller's lock covers it.
      lock: false,
      explainStatus: (status) => refused(status, file, server),
      explainBreak: (error) => describeNetworkError(error, server.name),
      signal,
      onProgress,
    });
    targets.push(target);
  }
  return targets;
}

function refused(status: number, file: ReleaseFile, server: ReleaseServer): LlameroError {
  const what = status === 404 ? `has no ${file.name}` : `answered with status ${status} for ${file.name}`;
  return new LlameroError('install_failed', `${server.name} ${what}.`);
}

async function unpackAndPublish(
  cache: string,
  archives: readonly string[],
  files: readonly ReleaseFile[],
  { env, signal, onProgress }: InstallFromReleaseOptions,
): Promise<CachedEngine> {
  const staging = path.join(cache, 'work', 'release-staging');
  await rm(staging, { recursive: true, force: true });
  const bin = path.join(staging, 'bin');
  try {
    for (const archive of archives) {
      onProgress({ step: 'unpack', fraction: null, message: `Unpacking ${path.basename(archive)}` });
      await unpackArchive(archive, bin, { env, signal });
    }
    const executable = path.relative(staging, await findProgram(bin));
    const program = path.join(staging, executable);
    onProgress({ step: 'verify', fraction: null, message: 'Starting the new llama-server once' });
    const version = await proveEngine(program, { env, signal });
    const variant = archiveVariant(path.basename(archives[0] ?? ''));
    return await publishInstallation(staging, path.join(cache, `${ENGINE_TAG}-release-${variant}`), {
      tag: ENGINE_TAG,
      ...version,
      source: 'release',
      from: files.map((file) => file.name),
      checksums: files.map((file) => `sha256:${file.sha256}`),
      platform: process.platform,
      arch: process.arch,
      cpu: null,
      executable,
      executableBytes: (await stat(program)).size,
      installedAt: new Date().toISOString(),
    });
  } finally {
    // Also when the archive turned out not to run here: another attempt would only end the same.
    await Promise.all([staging, ...archives].map((file) => rm(file, { recursive: true, force: true })));
  }
}

/** The program lies in the unpacked folder itself, or in a `bin` of it. */
async function findProgram(directory: string): Promise<string> {
  const names = await readdir(directory, { recursive: true });
  const found = names.find((name) => path.basename(name) === ENGINE_EXECUTABLE);
  if (found === undefined) {
    throw new LlameroError('install_failed', `The archive holds no ${ENGINE_EXECUTABLE}.`);
  }
  return path.join(directory, found);
}

async function currentTarget(env: NodeJS.ProcessEnv): Promise<ReleaseTarget> {
  return {
    platform: process.platform,
    arch: process.arch,
    libc: process.platform === 'linux' ? await currentLibc() : null,
    accelerators: await detectAccelerators(env),
  };
}

/** The C library is told by the dynamic loader that the beginning of Node's own executable names. */
async function currentLibc(): Promise<'glibc' | 'musl'> {
  const file = await open(process.execPath);
  try {
    const { buffer } = await file.read({ buffer: Buffer.alloc(4096), length: 4096, position: 0 });
    return buffer.includes('/ld-musl-') ? 'musl' : 'glibc';
  } finally {
    await file.close();
  }
}

function describeTarget({ platform, arch, libc }: ReleaseTarget): string {
  return `${platform} ${arch}${libc === 'musl' ? ' (musl)' : ''}`;
}
