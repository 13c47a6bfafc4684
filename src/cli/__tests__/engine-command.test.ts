import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, it } from 'node:test';
import { posixSuite } from '../../core/engine/install/__tests__/posix-suite.ts';
import { startReleaseMirror, type ReleaseMirror } from '../../core/engine/install/__tests__/release-mirror.ts';

interface CommandOutput {
  code: number;
  stdout: string;
  stderr: string;
}

posixSuite('llamero engine', { timeout: 180_000 }, () => {
  let directory: string;
  let mirror: ReleaseMirror;
  let env: NodeJS.ProcessEnv;

  const llamero = (...args: string[]) =>
    new Promise<CommandOutput>((resolve) => {
      const main = path.join(import.meta.dirname, '..', 'main.ts');
      execFile(process.execPath, [main, 'engine', ...args], { env }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      });
    });

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'llamero-engine-command-'));
    mirror = await startReleaseMirror(directory);
    env = {
      PATH: '/usr/bin:/bin',
      HOME: directory,
      LLAMERO_CACHE_DIR: path.join(directory, 'cache'),
      LLAMERO_RELEASE_MIRROR: mirror.url,
      LLAMERO_ACCELERATOR: 'cpu',
    };
  });
  afterEach(async () => {
    await mirror.close();
    await rm(directory, { recursive: true, force: true });
  });

  it('says that there is none, and how to get one', async () => {
    const none = await llamero('path');
    assert.deepEqual([none.code, none.stdout], [1, '']);
    assert.match(none.stderr, /There is no llama-server .*`llamero engine install` gets one/);
    const list = await llamero('list');
    assert.deepEqual([list.code, list.stdout], [0, '']);
    assert.match(list.stderr, /No llama-server found/);
  });

  it('installs with progress on stderr and the path alone on stdout; path and list then know it', async () => {
    const installed = await llamero('install', '--from', 'release');
    assert.equal(installed.code, 0, installed.stderr);
    assert.match(installed.stdout, /^\S+llama-server\n$/);
    assert.match(installed.stderr, /Downloading llama-b11150-bin-\S+ from \S+: .* of 60\d KB.* \d+%\n/);
    assert.match(installed.stderr, /llama-server 0\.5\.0-dev \(b11150, abc1234\) \(\d+ s\)\n$/);
    assert.deepEqual(await llamero('path'), { code: 0, stdout: installed.stdout, stderr: '' });
    const list = await llamero('list');
    assert.match(list.stdout, /^0\.5\.0-dev \(b11150, abc1234\) {2}cache \(release\) {2}\S+llama-server\n$/);
  });

  it('fails with the reason and exit code 1', async () => {
    mirror.fault = 'corrupted';
    const { code, stdout, stderr } = await llamero('install', '--from', 'release');
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(stderr, /llamero: llama-b11150-bin-\S+ from 127\.0\.0\.1:\d+ is corrupted/);
  });

  it('refuses a wrong option with exit code 2', async () => {
    assert.equal((await llamero('install', '--from', 'elsewhere')).code, 2);
    env['LLAMA_SERVER_PATH'] = path.join(directory, 'missing');
    const { code, stderr } = await llamero('path');
    assert.equal(code, 2);
    assert.match(stderr, /LLAMA_SERVER_PATH: .*missing does not exist/);
  });
});
