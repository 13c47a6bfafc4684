import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));

/** Of the caller's environment: what a program needs to run at all, and how it loads the sources. */
const INHERITED = Object.fromEntries(['PATH', 'SystemRoot', 'NODE_OPTIONS'].map((name) => [name, process.env[name]]));

/** How a command ended, and what it said. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of {@link llamero} and {@link startLlamero}. */
export interface ChildOptions {
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** Runs `llamero` with these arguments to its end. */
export async function llamero(args: readonly string[], options: ChildOptions): Promise<Ended> {
  return startLlamero(args, options).ended;
}

/** A running `llamero`. */
export interface RunningLlamero extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** The first JSON log record with that message; those of the past count. Rejects when the process ends first. */
  record(message: string): Promise<Record<string, unknown>>;
}

/** Starts `llamero` in an environment of its own. */
export function startLlamero(args: readonly string[], options: ChildOptions): RunningLlamero {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: options.cwd,
    env: { ...INHERITED, HOME: options.cwd, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const records: Record<string, unknown>[] = [];
  const changes = new EventTarget();
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  createInterface({ input: child.stderr }).on('line', (line) => {
    stderr += `${line}\n`;
    if (line.startsWith('{')) records.push(JSON.parse(line) as Record<string, unknown>);
    changes.dispatchEvent(new Event('change'));
  });
  let over = false;
  const ended = once(child, 'close').then(([code]: unknown[]) => {
    over = true;
    changes.dispatchEvent(new Event('change'));
    return { code: code as number | null, stdout, stderr };
  });
  return {
    child,
    ended,
    async record(message) {
      for (;;) {
        const found = records.find((record) => record['msg'] === message);
        if (found !== undefined) return found;
        if (over) throw new Error(`llamero ended without saying '${message}':\n${stderr}`);
        await once(changes, 'change');
      }
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await ended;
    },
  };
}
