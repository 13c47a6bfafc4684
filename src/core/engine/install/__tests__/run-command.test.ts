import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { runCommand } from '../run-command.ts';

const env = process.env;

describe('the time limit of a command', { skip: process.platform === 'win32' && 'programs of POSIX' }, () => {
  it('ends what takes longer', { timeout: 30_000 }, async () => {
    const { timedOut, signal } = await runCommand('sleep', ['60'], { env, timeoutMs: 50 });
    assert.deepEqual({ timedOut, signal }, { timedOut: true, signal: 'SIGTERM' });
  });

  it('is not held against one that ended while llamero itself did not run', { timeout: 30_000 }, async () => {
    const result = await runCommand('echo', ['in time'], { env, timeoutMs: 1, onSpawn: blockUntilEnded });
    assert.deepEqual(result, { code: 0, signal: null, timedOut: false, tail: ['in time'] });
  });

  it('holds for what a command leaves behind with its output open', { timeout: 30_000 }, async () => {
    const { timedOut, code } = await runCommand('sh', ['-c', 'sleep 60 & exit 3'], { env, timeoutMs: 50 });
    assert.deepEqual({ timedOut, code }, { timedOut: true, code: 3 });
  });
});

/** Keeps the event loop from running until that child has ended, which nobody has been told then. */
function blockUntilEnded(pid: number): void {
  const state = () => spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).stdout.trim();
  while (!state().startsWith('Z'));
}
