import assert from 'node:assert/strict';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type FakeLlamaServerCommand, writeFakeLlamaServerCommand } from '../../testing/index.ts';
import { startLlamero } from './child.ts';

// Windows has no SIGUSR2.
if (process.platform !== 'win32') {
  describe('SIGUSR2', { timeout: 120_000 }, () => {
    let cwd = '';
    let double: FakeLlamaServerCommand;
    before(async () => {
      cwd = await mkdtemp(path.join(os.tmpdir(), 'llamero-signal-'));
      double = await writeFakeLlamaServerCommand();
    });
    after(async () => {
      await double.remove();
      await rm(cwd, { recursive: true });
    });

    it('writes a heap snapshot into a private folder, and llamero goes on', async () => {
      const env = { LLAMA_SERVER_PATH: double.command, LLAMERO_CACHE_DIR: path.join(cwd, 'cache') };
      await using server = startLlamero(['serve', '--port', 'auto'], { cwd, env });
      const { url } = await server.record('serving');
      server.child.kill('SIGUSR2');
      const { file, bytes } = await server.record('debug file written');
      const folder = path.join(cwd, 'cache', 'debug');
      assert.equal(path.dirname(String(file)), folder);
      const facts = await stat(String(file));
      assert.deepEqual([facts.size, facts.mode & 0o777, (await stat(folder)).mode & 0o777], [bytes, 0o600, 0o700]);
      assert.equal((await fetch(`${String(url)}/readyz`)).status, 200);
      server.child.kill('SIGTERM');
      assert.equal((await server.ended).code, 0);
    });

    it('that comes while llamero still starts does not end it', async () => {
      const env = { LLAMA_SERVER_PATH: double.command, LLAMERO_CACHE_DIR: path.join(cwd, 'cache') };
      await using server = startLlamero(['serve', '--port', 'auto'], { cwd, env });
      await server.record('listening');
      server.child.kill('SIGUSR2');
      await server.record('debug file written');
      await server.record('serving');
    });
  });
}
