import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';

/** Stands beside an engine and ends it should llamero die without being able to do so itself. */
export interface ProcessGuard {
  /** The engine is gone: the guard goes too. Resolves when it has. */
  release(): Promise<void>;
}

/**
 * Reads the engine's pid, then waits on its standard input. A word means that all is well; the end of the input without
 * one means that llamero is gone, by SIGKILL or a crash: then the engine's process group is killed and its directory removed.
 * A shell, because it is there on every POSIX system, costs a megabyte and needs nothing from Node.
 */
const GUARD_SCRIPT = `
trap '' INT TERM HUP
read -r pid || exit 0
read -r word && exit 0
kill -KILL "-$pid" 2>/dev/null
rm -f -- "$1/engine.sock" "$1/owner.json" "$1"/slots/*.slot
rmdir -- "$1/slots" 2>/dev/null
rmdir -- "$1" 2>/dev/null
`;

/**
 * Starts a guard for the process group of `pid`. The kernel closes the guard's input when llamero dies, however it dies.
 * @returns null on Windows, where libuv's job object does the same.
 */
export function guardProcess(pid: number, directory: string): ProcessGuard | null {
  if (process.platform === 'win32') return null;
  const guard = spawn('/bin/sh', ['-c', GUARD_SCRIPT, 'llamero-guard', directory], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // Out of llamero's own group, so that a kill of the group leaves it to do its work.
    detached: true,
    cwd: '/',
  });
  // Without a shell the engine runs unguarded; the next start still finds and ends a leftover.
  guard.on('error', (error) =>
    process.emitWarning(`The engine runs without a guard: ${error.message}`, 'LlameroWarning'),
  );
  guard.stdin.on('error', () => guard.stdin.destroy());
  guard.stdin.write(`${pid}\n`);
  guard.unref();
  (guard.stdin as Socket).unref();
  return {
    release: async () => {
      if (guard.pid === undefined || guard.exitCode !== null || guard.signalCode !== null) return;
      guard.ref();
      const gone = once(guard, 'exit');
      guard.stdin.end('released\n');
      await gone;
    },
  };
}
