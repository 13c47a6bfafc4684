import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, it } from 'node:test';
import { LlameroError } from '../../../errors.ts';
import { readEngineVersion } from '../engine-binary.ts';
import type { InstallProgress } from '../install-progress.ts';
import { listEngines, locateEngine } from '../locate-engine.ts';
import { posixSuite } from './posix-suite.ts';

posixSuite('locating llama-server', { timeout: 120_000 }, () => {
  let directory: string;
  let env: NodeJS.ProcessEnv;
  let notes: string[];
  const onProgress = (report: InstallProgress) => notes.push(report.message);

  const write = async (name: string, script: string, mode = 0o755) => {
    const file = path.join(directory, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, `#!/bin/sh\n${script}\n`);
    await chmod(file, mode);
    return file;
  };
  const fake = (name: string, version: string) => write(name, `echo 'version: ${version}' >&2`);
  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'llamero-locate-'));
    env = { PATH: path.join(directory, 'path'), HOME: directory, LLAMERO_CACHE_DIR: path.join(directory, 'cache') };
    notes = [];
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('finds nothing where nothing is', async () => {
    assert.equal(await locateEngine({ env }), null);
    assert.deepEqual(await listEngines({ env }), []);
  });

  it('prefers a given path, then LLAMA_SERVER_PATH, then PATH', async () => {
    const given = await fake('given/llama-server', '0.6.0 (build 11429, commit aaa)');
    const named = await fake('named/my-server', 'b');
    await fake('named/my-server', '10000 (bbb)');
    const onPath = await fake('path/llama-server', '9500 (ccc)');
    env['LLAMA_SERVER_PATH'] = named;
    assert.deepEqual(await locateEngine({ command: given, env }), {
      path: given,
      version: '0.6.0',
      build: 11429,
      commit: 'aaa',
      origin: 'option',
    });
    assert.deepEqual(await locateEngine({ env }), {
      path: named,
      version: 'b10000',
      build: 10000,
      commit: 'bbb',
      origin: 'environment',
    });
    assert.deepEqual(
      (await listEngines({ env })).map(({ origin }) => origin),
      ['environment', 'path'],
    );
    delete env['LLAMA_SERVER_PATH'];
    assert.equal((await locateEngine({ env }))?.path, onPath);
    assert.equal((await locateEngine({ env }))?.origin, 'path');
  });

  it('looks up a given bare name on PATH', async () => {
    const file = await fake('path/llama-server-cuda', '10000 (abc)');
    assert.equal((await locateEngine({ command: 'llama-server-cuda', env }))?.path, file);
  });

  it('refuses a given path that does not work, and names it', async () => {
    const missing = path.join(directory, 'missing');
    await fake('path/llama-server', '10000 (abc)');
    await refused(locateEngine({ command: missing, env }), /engine\.command/, new RegExp(`${missing} does not exist`));
    env['LLAMA_SERVER_PATH'] = missing;
    await refused(locateEngine({ env }), /LLAMA_SERVER_PATH/, /does not exist/);
    const cases: [string, string, RegExp][] = [
      [
        'other',
        'echo cmake version 3.25.1',
        /does not answer --version as a llama-server does: cmake version 3\.25\.1/,
      ],
      ['fails', 'echo broken >&2; exit 3', /failed when asked for its version \(exit code 3\): broken/],
      ['crashes', 'kill -SEGV $$', /died of SIGSEGV/],
      ['foreign', 'kill -ILL $$', /built for another CPU/],
    ];
    for (const [name, script, expected] of cases) {
      await refused(locateEngine({ command: await write(name, script), env }), expected);
    }
    await refused(locateEngine({ command: await write('plain', 'true', 0o644), env }), /is not executable/);
  });

  it('refuses a given one that is too old, with its number and the minimum', async () => {
    const old = await fake('old', '4567 (abcdef0)');
    await refused(
      locateEngine({ command: old, env }),
      /version b4567 is too old: llamero needs .*b9442/,
      new RegExp(old),
    );
  });

  it('passes over one on PATH that is too old or broken, and says so', async () => {
    await fake('path/llama-server', '4567 (abcdef0)');
    assert.equal(await locateEngine({ env, onProgress }), null);
    assert.match(notes.join('\n'), /Not used: llama-server of PATH: .*version b4567 is too old/);
    await write('path/llama-server', 'exit 1');
    assert.equal(await locateEngine({ env, onProgress }), null);
    assert.match(notes.at(-1) ?? '', /Not used: .*exit code 1/);
  });

  it('lists what works and tells of what does not', async () => {
    env['LLAMA_SERVER_PATH'] = path.join(directory, 'missing');
    const onPath = await fake('path/llama-server', '10000 (abc)');
    assert.deepEqual(
      (await listEngines({ env, onProgress })).map((engine) => engine.path),
      [onPath],
    );
    assert.match(notes.join('\n'), /Not used: .*missing does not exist/);
  });

  it('gives a program that never answers its time, and no more', async () => {
    const hangs = await write('hangs', 'exec sleep 60');
    await assert.rejects(
      readEngineVersion(hangs, { env: { PATH: '/usr/bin:/bin' }, timeoutMs: 300 }),
      /did not answer --version within 0\.3 s/,
    );
  });

  it('stops at once when it is cancelled', async () => {
    const hangs = await write('hangs', 'exec sleep 60');
    const running = locateEngine({ command: hangs, env: { PATH: '/usr/bin:/bin' }, signal: AbortSignal.timeout(200) });
    await assert.rejects(running, (error) => error instanceof LlameroError && error.code === 'cancelled');
  });
});

async function refused(promise: Promise<unknown>, ...expected: RegExp[]): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof LlameroError);
    assert.equal(error.code, 'invalid_options');
    for (const pattern of expected) assert.match(error.message, pattern);
    return true;
  });
}
