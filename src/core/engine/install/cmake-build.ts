import { createWriteStream } from 'node:fs';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import path from 'node:path';
import { finished } from 'node:stream/promises';
import { LlameroError } from '../../errors.ts';
import { parseBuildLine } from './build-progress.ts';
import { ENGINE_EXECUTABLE } from './engine-binary.ts';
import type { OnInstallProgress } from './install-progress.ts';
import { endInterruptedBuild, recordBuildProcess } from './interrupted-build.ts';
import { runCommand } from './run-command.ts';
import { generatorArguments, missingTools, packageManager, saysNoCompiler } from './toolchain.ts';

/** Where a build happens. */
export interface BuildOptions {
  /** The checked-out source. */
  source: string;
  /** The build directory; kept when the build is interrupted, and continued from there. */
  build: string;
  /** Receives the complete output of CMake and the compilers, from its beginning. */
  logFile: string;
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
  onProgress: OnInstallProgress;
}

/** A compiler of llama.cpp's largest files takes this much memory; fewer run at once where there is not enough for all cores. */
const COMPILER_BYTES = 1.5 * 1024 ** 3;
const ERROR_LINES = 15;

/**
 * What is built: llama-server alone, in one file, without tests, examples, web page and TLS (llamero talks to it over a
 * private socket and downloads models itself). Warnings are off because nobody reads 14,000 lines of them.
 */
const CMAKE_OPTIONS = [
  '-DCMAKE_BUILD_TYPE=Release',
  '-DBUILD_SHARED_LIBS=OFF',
  '-DLLAMA_BUILD_TESTS=OFF',
  '-DLLAMA_BUILD_EXAMPLES=OFF',
  '-DLLAMA_BUILD_APP=OFF',
  '-DLLAMA_OPENSSL=OFF',
  '-DLLAMA_USE_PREBUILT_UI=OFF',
  '-DLLAMA_BUILD_UI=OFF',
  '-DLLAMA_ALL_WARNINGS=OFF',
  '-DGGML_ALL_WARNINGS=OFF',
];

/**
 * Configures and builds llama-server, continuing an interrupted build. A continued build that fails is started once
 * more from nothing: a compiler killed in the middle of writing can leave a broken object behind.
 * @returns the path of the built program.
 * @throws LlameroError `install_failed` with the last lines of the output and the log's path; `cancelled`.
 */
export async function buildEngine(options: BuildOptions): Promise<string> {
  const { build, signal } = options;
  await endInterruptedBuild(`${build}.pid`, signal);
  const continued = await hasEntries(build);
  try {
    return await buildOnce(options);
  } catch (error) {
    if (!continued || !(error instanceof LlameroError) || error.code === 'cancelled') throw error;
    options.onProgress({
      step: 'note',
      fraction: null,
      message: 'The interrupted build cannot be continued; building anew',
    });
    await rm(build, { recursive: true, force: true });
    return buildOnce(options);
  }
}

/** Extra CMake arguments of the user (`LLAMERO_CMAKE_ARGS`), such as `-DGGML_CUDA=ON`; separated by blanks. */
export function extraCmakeArguments(env: NodeJS.ProcessEnv): string[] {
  return (env['LLAMERO_CMAKE_ARGS'] ?? '').split(/\s+/).filter((argument) => argument !== '');
}

/** How many compilers run at once: one per core, but no more than memory allows. */
export function buildJobs(cores: number, memoryBytes: number): number {
  return Math.max(1, Math.min(cores, Math.floor(memoryBytes / COMPILER_BYTES)));
}

async function buildOnce(options: BuildOptions): Promise<string> {
  const { source, build, env } = options;
  // What is counted below is what is left to do, so a continued build begins at 0 % again.
  const verb = (await hasEntries(build)) ? 'Continuing to build' : 'Building';
  await mkdir(build, { recursive: true });
  const macIntel = process.platform === 'darwin' && process.arch === 'x64' ? ['-DGGML_METAL=OFF'] : [];
  const place = ['-S', source, '-B', build];
  const configure = [
    ...place,
    ...(await generatorArguments(env)),
    ...CMAKE_OPTIONS,
    ...macIntel,
    ...extraCmakeArguments(env),
  ];
  options.onProgress({ step: 'configure', fraction: null, message: 'Configuring llama-server' });
  await cmake(configure, 'configure', options);

  const jobs = env['CMAKE_BUILD_PARALLEL_LEVEL'] || String(buildJobs(availableParallelism(), totalmem()));
  const message = `${verb} llama-server from source (${jobs} jobs)`;
  options.onProgress({ step: 'build', fraction: 0, message });
  let fraction = 0;
  await cmake(
    ['--build', build, '--config', 'Release', '--target', 'llama-server', '--parallel', jobs],
    'build',
    options,
    (line) => {
      const progress = parseBuildLine(line);
      if (progress === null) return;
      fraction = Math.max(fraction, progress.fraction);
      options.onProgress({ step: 'build', fraction, message });
    },
  );
  return findProgram(build);
}

async function cmake(
  args: string[],
  step: 'configure' | 'build',
  { env, signal, build, logFile }: BuildOptions,
  onLine?: (line: string) => void,
): Promise<void> {
  const log = createWriteStream(logFile, { flags: step === 'configure' ? 'w' : 'a' });
  const pidFile = `${build}.pid`;
  log.write(`$ cmake ${args.join(' ')}\n`);
  let result;
  try {
    result = await runCommand('cmake', args, {
      env: withoutGitVariables(env),
      signal,
      onSpawn: (pid) => recordBuildProcess(pidFile, pid),
      onLine: (line) => {
        log.write(`${line}\n`);
        onLine?.(line);
      },
    });
  } finally {
    log.end();
    await finished(log);
    await rm(pidFile, { force: true });
  }
  if (result.code === 0) return;
  if (saysNoCompiler(result.tail)) throw missingTools(['compiler'], await packageManager());
  const how = result.code === null ? `was ended by ${result.signal}` : `failed (exit code ${result.code})`;
  throw new LlameroError(
    'install_failed',
    `CMake's ${step} step of llama-server ${how}. Its last lines:\n${errorLines(result.tail)}\nEverything is in ${logFile}`,
  );
}

/** Git's variables of a hook or alias that npm may run in would make git look at another repository. */
export function withoutGitVariables(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^GIT_(DIR|WORK_TREE|INDEX_FILE|PREFIX)/.test(name)),
  );
}

function errorLines(tail: readonly string[]): string {
  const failed = tail.findIndex((line) => /\berror\b|FAILED|Killed/i.test(line));
  const start = failed >= 0 ? Math.min(failed, Math.max(tail.length - ERROR_LINES, 0)) : tail.length - ERROR_LINES;
  return tail
    .slice(Math.max(start, 0), Math.max(start, 0) + ERROR_LINES)
    .map((line) => `  ${line}`)
    .join('\n');
}

async function findProgram(build: string): Promise<string> {
  // Generators with several configurations (Visual Studio) put it one level deeper.
  for (const candidate of [['bin'], ['bin', 'Release']]) {
    const file = path.join(build, ...candidate, ENGINE_EXECUTABLE);
    try {
      if ((await stat(file)).isFile()) return file;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  throw new LlameroError('install_failed', `The build ended well but left no ${ENGINE_EXECUTABLE} in ${build}`);
}

async function hasEntries(directory: string): Promise<boolean> {
  try {
    return (await readdir(directory)).length > 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
