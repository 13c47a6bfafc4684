import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { LogTail } from './log-tail.ts';
import { guardProcess, type ProcessGuard } from './process-guard.ts';

const TAIL_LINES = 100;
/** After the exit of the process its pipes may still be held open by a grandchild; they are waited for this long. */
const PIPES_CLOSE_MS = 300;

export interface EngineProcessOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Private directory of the engine; the guard removes it should llamero die first. */
  readonly directory: string;
  readonly onLine: (line: string) => void;
}

/** How the process ended. */
export interface EngineProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly log: readonly string[];
  /** Set when the command could not be spawned at all. */
  readonly spawnError: NodeJS.ErrnoException | null;
  /** Whether the kernel's OOM killer ended some process while this one lived (Linux). */
  readonly oomKilled: boolean;
}

/**
 * One llama-server process: spawned in a process group of its own, its log read without pause, guarded against
 * outliving llamero. Owns the child, its pipes and its guard; `ended` resolves when all three are gone.
 */
export class EngineProcess {
  /** undefined when the command could not be spawned. */
  readonly pid: number | undefined;
  readonly ended: Promise<EngineProcessEnd>;
  readonly #child: ChildProcess;
  readonly #tail: LogTail;
  readonly #guard: ProcessGuard | null;
  #lastOutputAt = performance.now();
  #exited = false;

  constructor(options: EngineProcessOptions) {
    this.#tail = new LogTail(TAIL_LINES, options.onLine);
    const oomBefore = oomKills();
    this.#child = spawn(options.command, options.args, {
      env: options.env,
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own: Ctrl-C in the terminal reaches llamero alone, which then drains. On Windows libuv's job
      // object ends children that are not detached together with their parent, which is what we want there.
      detached: process.platform !== 'win32',
      windowsHide: true,
    });
    this.pid = this.#child.pid;
    this.#guard = this.pid === undefined ? null : guardProcess(this.pid, options.directory);
    this.#read(this.#child.stdout);
    this.#read(this.#child.stderr);
    this.ended = this.#waitForEnd(oomBefore);
  }

  /** When the process last printed anything, on the clock of `performance.now()`. */
  get lastOutputAt(): number {
    return this.#lastOutputAt;
  }

  /** The last lines of the log, oldest first. */
  logTail(): string[] {
    return this.#tail.lines();
  }

  /** Sends a signal: SIGKILL to the whole process group, others to the process alone. Nothing happens when it is gone. */
  kill(signal: 'SIGTERM' | 'SIGKILL'): void {
    if (this.#exited || this.pid === undefined) return;
    try {
      if (signal === 'SIGKILL' && process.platform !== 'win32') process.kill(-this.pid, 'SIGKILL');
      else this.#child.kill(signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  #read(pipe: NodeJS.ReadableStream | null): void {
    const writer = this.#tail.writer();
    pipe?.setEncoding('utf8');
    pipe?.on('data', (text: string) => {
      this.#lastOutputAt = performance.now();
      writer.write(text);
    });
    pipe?.on('end', () => writer.end());
    // A reset of the pipe says no more than its end does.
    pipe?.on('error', () => writer.end());
  }

  async #waitForEnd(oomBefore: Promise<number>): Promise<EngineProcessEnd> {
    const { promise, resolve } = Promise.withResolvers<Omit<EngineProcessEnd, 'log' | 'oomKilled'>>();
    let pipesTimer: NodeJS.Timeout | undefined;
    this.#child.once('error', (error: NodeJS.ErrnoException) => {
      // `error` also reports a failed kill; only without a pid does it mean that nothing was started.
      if (this.pid === undefined) resolve({ code: null, signal: null, spawnError: error });
    });
    this.#child.once('exit', (code, signal) => {
      this.#exited = true;
      const end = { code, signal, spawnError: null };
      this.#child.once('close', () => resolve(end));
      pipesTimer = setTimeout(() => resolve(end), PIPES_CLOSE_MS);
    });
    const end = await promise;
    clearTimeout(pipesTimer);
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
    this.#killStragglers();
    await this.#guard?.release();
    const oomKilled = end.signal === 'SIGKILL' && (await oomKills()) > (await oomBefore);
    return { ...end, log: this.#tail.lines(), oomKilled };
  }

  /** Whatever the engine itself started belongs to its group and ends with it. */
  #killStragglers(): void {
    if (this.pid === undefined || process.platform === 'win32') return;
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch {
      // No such group: nothing was left.
    }
  }
}

/** Count of processes ended by the OOM killer since boot; 0 where the kernel does not tell. */
async function oomKills(): Promise<number> {
  if (process.platform !== 'linux') return 0;
  try {
    const statistics = await readFile('/proc/vmstat', 'utf8');
    return Number(/^oom_kill (\d+)$/m.exec(statistics)?.[1] ?? 0);
  } catch {
    // No /proc here, as in some sandboxes: then nothing is known.
    return 0;
  }
}
