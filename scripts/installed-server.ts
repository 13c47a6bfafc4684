import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** A running `llamero serve` of an installed package, with the built-in model on any free port. */
export class InstalledServer {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #lines: readonly string[];

  private constructor(child: ChildProcess, url: string, lines: readonly string[]) {
    this.#child = child;
    this.url = url;
    this.#lines = lines;
  }

  /** Starts it and waits until it says that it serves. @param main path of `dist/cli/main.js` */
  static async start(main: string, cwd: string, signal: AbortSignal): Promise<InstalledServer> {
    const child = spawn(process.execPath, [main, 'serve', '--port', 'auto', '--log-format', 'json'], {
      cwd,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const lines: string[] = [];
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    createInterface({ input: child.stderr }).on('line', (line) => {
      lines.push(line);
      const record = readRecord(line);
      if (record.msg === 'serving' && record.url !== undefined) resolve(record.url);
    });
    child.once('close', (code) => reject(new Error(`it ended with ${code}:\n${lines.join('\n')}`)));
    const onAbort = () => {
      child.kill('SIGKILL');
      reject(new Error(`not ready in time:\n${lines.join('\n')}`));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return new InstalledServer(child, await promise, lines);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** What it logged. */
  log(): string {
    return this.#lines.join('\n');
  }

  /** Ends it as a service manager does, and sees to it that nothing is left. */
  async end(): Promise<void> {
    const status = (await (await fetch(`${this.url}/admin/status`)).json()) as { pid: number };
    assert.ok(isAlive(status.pid), 'there is no llama-server to begin with');
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
    assert.ok(!isAlive(status.pid), 'llama-server is still there');
  }

  /** Ends it whatever it does, if it has not ended. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}

function readRecord(line: string): { msg?: string; url?: string } {
  try {
    return JSON.parse(line) as { msg?: string; url?: string };
  } catch {
    // A line that is no record, such as a warning of Node: kept for the report of a failure.
    return {};
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    // ESRCH: there is no such process.
    return false;
  }
}
