import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { LlameroError } from '../../errors.ts';

/** Options of {@link runCommand}. */
export interface RunCommandOptions {
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
  cwd?: string;
  /** Ends the command after this long. Default: no limit. */
  timeoutMs?: number;
  /** Every line of stdout and stderr, in the order of arrival. */
  onLine?: (line: string) => void;
  /** The pid, which is also the id of the command's process group (POSIX). */
  onSpawn?: (pid: number) => Promise<void> | void;
}

/** How a command ended. Exactly one of `code` and `signal` is set. */
export interface CommandResult {
  code: number | null;
  signal: NodeJS.Signals | null;
  timedOut: boolean;
  /** The last lines of its output, at most {@link TAIL_LINES}. */
  tail: string[];
}

/** How much output is kept for error messages. */
export const TAIL_LINES = 40;
const KILL_AFTER_MS = 3000;

/**
 * Runs a program to its end, its output read line by line. On abort or timeout its whole process group is ended
 * (SIGTERM, then SIGKILL after 3 s), and only when it is gone does the promise settle: no child outlives the call.
 * @throws LlameroError `cancelled` on abort; the spawn error of Node (`ENOENT`, `EACCES`, …) when it cannot be started.
 */
export async function runCommand(command: string, args: string[], options: RunCommandOptions): Promise<CommandResult> {
  const { env, signal, cwd, timeoutMs, onLine, onSpawn } = options;
  throwIfCancelled(signal);
  const child = spawn(command, args, {
    env,
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    // An own group, so that compilers started by make started by cmake are reached as well.
    detached: process.platform !== 'win32',
    windowsHide: true,
  });
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  const tail: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream, crlfDelay: Infinity }).on('line', (line) => {
      tail.push(line);
      if (tail.length > TAIL_LINES) tail.shift();
      onLine?.(line);
    });
  }
  let timedOut = false;
  let forced: NodeJS.Timeout | undefined;
  const end = () => {
    endProcessGroup(child, 'SIGTERM');
    forced ??= setTimeout(() => endProcessGroup(child, 'SIGKILL'), KILL_AFTER_MS);
  };
  const limit =
    timeoutMs === undefined
      ? null
      : limitTime(child, timeoutMs, () => {
          timedOut = true;
          end();
        });
  signal?.addEventListener('abort', end, { once: true });
  try {
    if (child.pid !== undefined) await onSpawn?.(child.pid);
    const [code, exitSignal] = await closed;
    throwIfCancelled(signal);
    return { code, signal: exitSignal, timedOut, tail };
  } finally {
    limit?.[Symbol.dispose]();
    clearTimeout(forced);
    signal?.removeEventListener('abort', end);
  }
}

/**
 * Calls `onTimeout` when the child has not ended after that time. Where llamero itself was kept from running meanwhile, as by a
 * heap snapshot, the child may have ended long ago: its end is looked for first. What it leaves behind that keeps its output
 * open gets the same time once more.
 */
function limitTime(child: ChildProcess, timeoutMs: number, onTimeout: () => void): Disposable {
  let knownEnded = false;
  let immediate: NodeJS.Immediate | undefined;
  const look = (): void => {
    const ended = child.exitCode !== null || child.signalCode !== null;
    if (!ended || knownEnded) onTimeout();
    else timer = setTimeout(expire, timeoutMs);
    knownEnded = ended;
  };
  // Timers come before what the system has to tell, immediates behind it.
  const expire = (): void => {
    immediate = setImmediate(look);
  };
  let timer = setTimeout(expire, timeoutMs);
  return {
    [Symbol.dispose]() {
      clearTimeout(timer);
      clearImmediate(immediate);
    },
  };
}

/** Throws `cancelled` when the signal is aborted. */
export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new LlameroError('cancelled', 'The installation was cancelled.', { cause: signal.reason });
  }
}

/** Signals a child's process group; on Windows, which has none, its tree. */
function endProcessGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  if (process.platform === 'win32') {
    spawn('taskkill', ['/pid', String(child.pid), '/T', '/F'], { stdio: 'ignore', windowsHide: true }).on('error', () =>
      child.kill(),
    );
    return;
  }
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
