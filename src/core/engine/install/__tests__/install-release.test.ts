import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { LlameroError } from '../../../errors.ts';
import { engineCacheDirectory } from '../cache-directory.ts';
import { installEngine, obtainEngine, type InstallEngineOptions } from '../install-engine.ts';
import type { InstallProgress } from '../install-progress.ts';
import { listEngines, locateEngine } from '../locate-engine.ts';
import { posixSuite } from './posix-suite.ts';
import { startReleaseMirror, type ReleaseMirror } from './release-mirror.ts';
import { startInstaller } from './start-installer.ts';

posixSuite('installing the release archive', { timeout: 180_000 }, () => {
  let directory: string;
  let mirror: ReleaseMirror;
  let env: NodeJS.ProcessEnv;
  let progress: InstallProgress[];

  const install = (options: Partial<InstallEngineOptions> = {}) =>
    installEngine({ from: 'release', env, onProgress: (report) => progress.push(report), ...options });
  const fails = (options: Partial<InstallEngineOptions>, expected: RegExp) =>
    assert.rejects(install(options), (error) => {
      assert.ok(error instanceof LlameroError);
      assert.equal(error.code, 'install_failed');
      assert.match(error.message, expected);
      return true;
    });
  const locate = () => locateEngine({ env });

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'llamero-release-'));
    mirror = await startReleaseMirror(directory);
    env = {
      PATH: '/usr/bin:/bin',
      HOME: directory,
      LLAMERO_CACHE_DIR: path.join(directory, 'cache'),
      LLAMERO_RELEASE_MIRROR: mirror.url,
      LLAMERO_ACCELERATOR: 'cpu',
    };
    progress = [];
  });
  afterEach(async () => {
    await mirror.close();
    await rm(directory, { recursive: true, force: true });
  });

  it('downloads, verifies, unpacks, proves, and is found from then on', async () => {
    assert.equal(await locate(), null);
    const engine = await install();
    assert.equal(engine.version, '0.5.0-dev');
    assert.equal(engine.build, 11150);
    assert.equal(engine.origin, 'cache');
    assert.equal(engine.source, 'release');
    assert.deepEqual(await locate(), engine);
    assert.deepEqual(await listEngines({ env }), [engine]);
    const installed = JSON.parse(await readFile(path.join(engine.path, '..', '..', 'installed.json'), 'utf8')) as {
      checksums: string[];
    };
    assert.match(installed.checksums[0] ?? '', /^sha256:[0-9a-f]{64}$/);
    const steps = new Set(progress.map((report) => report.step));
    assert.deepEqual([...steps], ['note', 'download', 'verify', 'unpack']);
    assert.equal(progress.findLast((report) => report.step === 'download')?.fraction, 1);
    assert.deepEqual(await readdir(path.join(engineCacheDirectory(env), 'work')), []);
  });

  it('installs once: a second call and obtainEngine use what is there', async () => {
    const engine = await install();
    assert.deepEqual(await install(), engine);
    assert.deepEqual(await obtainEngine({ env }), engine);
    assert.equal(mirror.archiveRequests.length, 1);
  });

  it('installs again on request, replacing the old installation', async () => {
    const engine = await install();
    assert.equal((await install({ force: true })).path, engine.path);
    assert.equal(mirror.archiveRequests.length, 2);
    assert.equal((await listEngines({ env })).length, 1);
  });

  it('refuses a corrupted archive and leaves nothing of it', async () => {
    mirror.fault = 'corrupted';
    await fails({}, /llama-b11150-bin-.* is corrupted: it is not what its checksum says/);
    assert.equal(await locate(), null);
    mirror.fault = null;
    assert.equal((await install()).build, 11150);
  });

  it('refuses a truncated archive', async () => {
    mirror.fault = 'truncated';
    await fails({}, /is truncated/);
    assert.equal(await locate(), null);
  });

  it('names a missing archive', async () => {
    mirror.fault = 'missing';
    await fails({}, /has no llama-b11150-bin-/);
  });

  it('goes on where a broken connection stopped', async () => {
    mirror.fault = 'cut-once';
    assert.equal((await install()).build, 11150);
    assert.equal(mirror.archiveRequests.length, 2);
    assert.match(mirror.archiveRequests[1] ?? '', /^bytes=[1-9]\d*-$/);
  });

  it('gets a file through a connection that breaks again and again, as long as it gets on', async () => {
    mirror.fault = 'cut-always';
    assert.equal((await install()).build, 11150);
    assert.ok(mirror.archiveRequests.length > 5);
  });

  it('gives up when nothing arrives any more, and a later call goes on where it was', async () => {
    mirror.fault = 'cut-then-dead';
    await fails({}, /The connection to 127\.0\.0\.1:\d+ failed/);
    mirror.fault = null;
    assert.equal((await install()).build, 11150);
    assert.match(mirror.archiveRequests.at(-1) ?? '', /^bytes=[1-9]\d*-$/);
  });

  it('starts from nothing when the server ignores ranges', async () => {
    mirror.fault = 'cut-then-dead';
    await fails({}, /failed/);
    mirror.fault = 'no-ranges';
    assert.equal((await install()).build, 11150);
  });

  it('starts from nothing when the kept part belongs to other bytes', async () => {
    mirror.fault = 'cut-then-dead';
    await fails({}, /failed/);
    const work = path.join(engineCacheDirectory(env), 'work');
    const part = (await readdir(work)).find((name) => name.endsWith('.part'));
    await writeFile(path.join(work, part ?? ''), Buffer.alloc(150_000, 'x'));
    mirror.fault = null;
    assert.equal((await install()).build, 11150);
    assert.equal(mirror.archiveRequests.at(-1), '');
  });

  it('gives up on a server that falls silent', async () => {
    mirror.fault = 'silent';
    await fails({ timeouts: { idleMs: 1000 } }, /stopped answering \(UND_ERR_BODY_TIMEOUT\)/);
  });

  it('is cancelled in the middle of a download, and goes on later', async () => {
    mirror.fault = 'stalled';
    const cancellation = new AbortController();
    const running = install({ signal: cancellation.signal });
    await mirror.stalled;
    cancellation.abort();
    await assert.rejects(running, (error) => error instanceof LlameroError && error.code === 'cancelled');
    assert.equal(await locate(), null);
    mirror.fault = null;
    assert.equal((await install()).build, 11150);
  });

  it('refuses an archive whose program does not run here', async () => {
    await mirror.close();
    mirror = await startReleaseMirror(directory, '#!/bin/sh\necho "GLIBC_2.99 not found" >&2\nexit 1\n');
    env['LLAMERO_RELEASE_MIRROR'] = mirror.url;
    await fails({}, /does not run on this machine: .*exit code 1.*GLIBC_2\.99 not found/);
    assert.equal(await locate(), null);
  });

  it('finds an unreachable server in seconds: refused', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    env['LLAMERO_RELEASE_MIRROR'] = `http://127.0.0.1:${port}`;
    const startedAt = performance.now();
    await fails({}, /127\.0\.0\.1:\d+ cannot be reached \(ECONNREFUSED\)/);
    assert.ok(performance.now() - startedAt < 5000);
  });

  it('finds an unreachable server in seconds: no such name', async () => {
    env['LLAMERO_RELEASE_MIRROR'] = 'http://nonexistent.invalid';
    const startedAt = performance.now();
    await fails({}, /nonexistent\.invalid cannot be reached/);
    assert.ok(performance.now() - startedAt < 8000);
  });

  it('finds an unreachable server in seconds: accepts and never answers', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    env['LLAMERO_RELEASE_MIRROR'] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await fails({ timeouts: { idleMs: 1000 } }, /stopped answering \(UND_ERR_HEADERS_TIMEOUT\)/);
    server.close();
  });

  it('with auto, names both failures when neither archive nor source can be had', async () => {
    mirror.fault = 'missing';
    env['PATH'] = path.join(directory, 'empty');
    await fails(
      { from: 'auto' },
      /Archive: .* has no llama-b11150.*\nSource: Building llama-server from source needs git, CMake/,
    );
    assert.match(progress.at(-1)?.message ?? '', /has no .* Building from source instead\.$/);
  });

  it('does not use an installation of another platform, of another size or without its marker', async () => {
    const engine = await install();
    const marker = path.join(engine.path, '..', '..', 'installed.json');
    const text = await readFile(marker, 'utf8');
    await writeFile(marker, text.replace(`"platform": "${process.platform}"`, '"platform": "aix"'));
    assert.equal(await locate(), null);
    await writeFile(marker, text.replace(/"executableBytes": \d+/, '"executableBytes": 1'));
    assert.equal(await locate(), null);
    await writeFile(marker, text.slice(0, 40));
    assert.equal(await locate(), null);
    await writeFile(marker, text);
    assert.deepEqual(await locate(), engine);
  });

  it('lets one of two processes install while the other waits for it', async () => {
    mirror.fault = 'stalled';
    const first = startInstaller({ from: 'release' }, env);
    const firstEngine = first.message('engine');
    await mirror.stalled;
    const second = startInstaller({ from: 'release' }, env);
    const secondEngine = second.message('engine');
    await second.message('wait');
    assert.equal(mirror.archiveRequests.length, 1);
    mirror.breakConnections();
    // The first tries again where it was, and gets the rest.
    const engines = await Promise.all([firstEngine, secondEngine]);
    assert.deepEqual(engines[0], engines[1]);
    assert.equal(mirror.archiveRequests.length, 2);
  });

  it('takes over from a process that was killed in the middle, and goes on with its download', async () => {
    mirror.fault = 'stalled';
    const first = startInstaller({ from: 'release' }, env);
    await mirror.stalled;
    await untilPartHasBytes();
    first.child.kill('SIGKILL');
    await first.exited;
    assert.equal(await locate(), null);
    const engine = await install({ lockStaleMs: 2000 });
    assert.equal(engine.build, 11150);
    assert.ok(progress.some((report) => report.step === 'wait'));
    assert.match(mirror.archiveRequests.at(-1) ?? '', /^bytes=[1-9]\d*-$/);
  });

  /** What was sent has to be on disk before the process dies, or there is nothing to go on with. */
  async function untilPartHasBytes() {
    const work = path.join(engineCacheDirectory(env), 'work');
    for (;;) {
      for (const name of await readdir(work)) {
        if (name.endsWith('.part') && (await stat(path.join(work, name))).size > 0) return;
      }
      await setImmediate();
    }
  }
});
