import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { LlameroError } from '../../../errors.ts';
import { engineCacheDirectory } from '../cache-directory.ts';
import { installEngine, type InstallEngineOptions } from '../install-engine.ts';
import type { InstallProgress } from '../install-progress.ts';
import { locateEngine } from '../locate-engine.ts';
import { posixSuite } from './posix-suite.ts';
import { startSourceRegistry, writeFakeTools, type SourceRegistry } from './source-registry.ts';
import { startInstaller } from './start-installer.ts';

posixSuite('building from source', { timeout: 180_000 }, () => {
  let directory: string;
  let registry: SourceRegistry;
  let env: NodeJS.ProcessEnv;
  let progress: InstallProgress[];

  const install = (options: Partial<InstallEngineOptions> = {}) =>
    installEngine({
      from: 'source',
      env,
      source: registry.source,
      onProgress: (report) => progress.push(report),
      ...options,
    });
  const fails = (options: Partial<InstallEngineOptions>, ...expected: RegExp[]) =>
    assert.rejects(install(options), (error) => {
      assert.ok(error instanceof LlameroError);
      assert.equal(error.code, 'install_failed');
      for (const pattern of expected) assert.match(error.message, pattern);
      return true;
    });
  const commands = () => readFile(path.join(directory, 'commands'), 'utf8').catch(() => '');
  const clones = async () => (await commands()).match(/clone/g)?.length ?? 0;
  /** The process of a build that hangs, once the installer has noted it down for those who come after it. */
  const hangingBuild = async () => {
    for (;;) {
      const pid = /^pid (\d+)$/m.exec(await commands())?.[1];
      if (pid !== undefined && (await notedProcesses()).includes(`"pid":${pid},`)) return Number(pid);
      await setImmediate();
    }
  };
  const notedProcesses = async () => {
    const work = path.join(engineCacheDirectory(env), 'work');
    const names = (await readdir(work, { recursive: true })).filter((name) => name.endsWith('.pid'));
    return (await Promise.all(names.map((name) => readFile(path.join(work, name), 'utf8')))).join('\n');
  };

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'llamero-source-'));
    registry = await startSourceRegistry(directory);
    env = {
      PATH: await writeFakeTools(path.join(directory, 'tools')),
      HOME: directory,
      LLAMERO_CACHE_DIR: path.join(directory, 'cache'),
      npm_config_registry: registry.url,
      npm_config_cache: path.join(directory, 'npm'),
      FAKE_LOG: path.join(directory, 'commands'),
    };
    progress = [];
  });
  afterEach(async () => {
    await registry.close();
    await rm(directory, { recursive: true, force: true });
  });

  it('fetches, clones, configures, builds with the percentage of the build, proves, and keeps the log', async () => {
    const engine = await install();
    assert.deepEqual([engine.version, engine.build, engine.commit], ['0.5.0-dev', 1, 'de3ff81']);
    assert.deepEqual([engine.origin, engine.source], ['cache', 'source']);
    assert.deepEqual(await locateEngine({ env }), engine);
    assert.deepEqual(
      [...new Set(progress.map(({ step }) => step))],
      ['fetch', 'unpack', 'clone', 'configure', 'build', 'verify'],
    );
    const fractions = progress.filter(({ step }) => step === 'build').map(({ fraction }) => fraction);
    assert.deepEqual(fractions, [0, 0.25, 0.75, 1]);
    assert.match(await commands(), /--target llama-server --parallel \d+/);
    const home = path.join(engine.path, '..', '..');
    assert.match(await readFile(path.join(home, 'build.log'), 'utf8'), /\[ 75%\] Building/);
    const installed = JSON.parse(await readFile(path.join(home, 'installed.json'), 'utf8')) as Record<string, unknown>;
    assert.deepEqual(installed['checksums'], [registry.source.integrity]);
    assert.deepEqual(await readdir(path.join(engineCacheDirectory(env), 'work')), []);
  });

  it('names every missing tool before it fetches anything', async () => {
    await fails(
      { env: { ...env, PATH: path.join(directory, 'none') } },
      /needs git, CMake, a C\+\+ compiler, make or ninja/,
    );
    const withoutCmake = await writeFakeTools(path.join(directory, 'no-cmake'), ['git', 'g++', 'ninja']);
    await fails({ env: { ...env, PATH: withoutCmake } }, /needs CMake, not found/);
    assert.equal(registry.tarballRequests, 0);
  });

  it('names the compiler when only CMake notices that there is none', async () => {
    await fails({ env: { ...env, FAKE_CMAKE: 'no-compiler' } }, /needs a C\+\+ compiler/);
  });

  it('builds nothing when the registry sends other bytes', async () => {
    const integrity = `sha512-${Buffer.alloc(64).toString('base64')}`;
    await fails({ source: { ...registry.source, integrity } }, /engine-source@1\.0\.0 that is not the published one/);
    assert.equal(await clones(), 0);
  });

  it('tells when the registry cannot be reached', async () => {
    await fails(
      { env: { ...env, npm_config_registry: 'http://127.0.0.1:1' } },
      /could not be fetched from the npm registry/,
    );
  });

  it('shows the last lines of a failed build and where its log is, and does not fetch again', async () => {
    await fails(
      { env: { ...env, FAKE_CMAKE: 'fail' } },
      /build step .* failed \(exit code 2\)/,
      /server\.cpp:1: error/,
      /work\/build-.*\.log/,
    );
    assert.equal(await locateEngine({ env }), null);
    assert.equal((await install()).build, 1);
    assert.deepEqual([registry.tarballRequests, await clones()], [1, 1]);
  });

  it('builds anew when an interrupted build cannot be continued', async () => {
    await fails({ env: { ...env, FAKE_CMAKE: 'fail' } }, /failed/);
    assert.equal((await install({ env: { ...env, FAKE_CMAKE: 'broken-object' } })).build, 1);
    assert.ok(progress.some(({ message }) => message.includes('building anew')));
  });

  it('ends the build when it is cancelled, and continues it later', async () => {
    const cancellation = new AbortController();
    const running = install({ env: { ...env, FAKE_CMAKE: 'hang' }, signal: cancellation.signal });
    const pid = await hangingBuild();
    cancellation.abort();
    await assert.rejects(running, (error) => error instanceof LlameroError && error.code === 'cancelled');
    assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
    assert.equal((await install()).build, 1);
    assert.deepEqual([registry.tarballRequests, await clones()], [1, 1]);
  });

  it('after SIGKILL ends what is left of the build, and continues it', async () => {
    const first = startInstaller({ from: 'source', source: registry.source }, { ...env, FAKE_CMAKE: 'hang' });
    const pid = await hangingBuild();
    first.child.kill('SIGKILL');
    await first.exited;
    process.kill(pid, 0);
    assert.equal(await locateEngine({ env }), null);
    assert.equal((await install({ lockStaleMs: 2000 })).build, 1);
    assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
    assert.deepEqual([registry.tarballRequests, await clones()], [1, 1]);
  });

  it('does not use a build for another processor, and builds for this one', async () => {
    const engine = await install();
    const marker = path.join(engine.path, '..', '..', 'installed.json');
    const installed = JSON.parse(await readFile(marker, 'utf8')) as {
      cpu: { model: string; instructionSets: string[] };
    };
    installed.cpu.model = 'Another';
    installed.cpu.instructionSets.push('avx9999');
    await writeFile(marker, JSON.stringify(installed));
    assert.equal(await locateEngine({ env }), null);
    assert.equal((await install()).build, 1);
    assert.equal(await clones(), 2);
  });

  it('hands LLAMERO_CMAKE_ARGS to CMake', async () => {
    await install({ env: { ...env, LLAMERO_CMAKE_ARGS: '-DGGML_CUDA=ON' } });
    assert.match(await commands(), /-S .* -DGGML_CUDA=ON/);
  });
});
