import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { addApiKey } from '../../src/gateway/key-store.ts';
import type { ApiKeyGrant } from '../../src/gateway/key-file.ts';
import { writeTinyModel } from '../../src/testing/write-tiny-model.ts';
import { ServeLog } from '../chaos/serve-log.ts';

/** Requests per minute of `limited`. */
export const LIMITED_REQUESTS = 3;
/** Slots of the engine, and places in the queue behind them. */
export const SLOTS = 4;
export const QUEUE_PLACES = 6;
/** About 350 tokens per second for one request, so that there is time to kill the engine amid a stream. */
const BALLAST_BYTES = 24_000_000;
const MAIN = path.resolve(import.meta.dirname, '../../src/cli/main.ts');
const READY_MS = 30_000;
const LOOK_MS = 20;

const GRANTS = {
  prometheus: {},
  admin: { mayAdminister: true },
  person: { userId: 'person', priority: 'interactive' },
  program: { userId: 'program' },
  nightly: { userId: 'nightly', priority: 'batch' },
  limited: { userId: 'limited', limits: { requestsPerMinute: LIMITED_REQUESTS } },
} as const satisfies Record<string, ApiKeyGrant>;

/** Who holds a key. */
export type Caller = keyof typeof GRANTS;

interface ServeStatus {
  readonly state: string;
  readonly pid: number | null;
  readonly generation: number;
}

/** A `llamero serve` with a real llama-server and API keys, to be watched by Prometheus. */
export class WatchedServe {
  readonly url: string;
  readonly keys: Readonly<Record<Caller, string>>;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(child: ChildProcess, url: string, keys: WatchedServe['keys'], folder: string) {
    this.#child = child;
    this.url = url;
    this.keys = keys;
    this.#folder = folder;
  }

  /** Starts it and waits until its engine is ready. @param command the llama-server. */
  static async start(command: string): Promise<WatchedServe> {
    const folder = await mkdtemp(path.join(tmpdir(), 'llamero-watched-'));
    const model = path.join(folder, 'tiny.gguf');
    await writeTinyModel(model, { ballastBytes: BALLAST_BYTES });
    const apiKeyFile = path.join(folder, 'keys.json');
    const keys: Partial<Record<Caller, string>> = {};
    for (const [caller, grant] of Object.entries(GRANTS) as [Caller, ApiKeyGrant][]) {
      keys[caller] = (await addApiKey(apiKeyFile, caller, grant)).key;
    }
    const file = path.join(folder, 'llamero.json');
    await writeFile(file, JSON.stringify(configuration(command, model, apiKeyFile)));
    const env = Object.fromEntries(
      // The settings of whoever runs this must not change what is run.
      Object.entries(process.env).filter(([name]) => !/^(LLAMERO|LOG_LEVEL|LLAMA_DEBUG)/.test(name)),
    );
    const stdio: ['ignore', 'ignore', 'pipe'] = ['ignore', 'ignore', 'pipe'];
    const child = spawn(process.execPath, [MAIN, 'serve', '--config', file], { cwd: folder, env, stdio });
    const url = await new ServeLog(child.stderr).url;
    const serve = new WatchedServe(child, url, keys as WatchedServe['keys'], folder);
    await serve.untilReady(1);
    return serve;
  }

  /** Sends a signal to the engine, and waits until the next one is ready. */
  async endEngine(signal: 'SIGKILL' | 'SIGSEGV'): Promise<void> {
    const { pid, generation } = await this.#status();
    if (pid === null) throw new Error('There is no engine.');
    process.kill(pid, signal);
    await this.untilReady(generation + 1);
  }

  /** A planned restart, to its end. */
  async restartEngine(): Promise<void> {
    const { status } = await fetch(`${this.url}/admin/engines/default/restart`, {
      method: 'POST',
      headers: this.#headers,
    });
    if (status !== 200) throw new Error(`A planned restart: ${status}`);
  }

  /** Waits for an engine of that generation, or a later one. */
  async untilReady(generation: number): Promise<void> {
    const deadline = performance.now() + READY_MS;
    for (;;) {
      const status = await this.#status();
      if (status.state === 'ready' && status.generation >= generation) return;
      if (performance.now() > deadline) throw new Error(`The engine is ${status.state}.`);
      await sleep(LOOK_MS);
    }
  }

  /** Ends it as a service manager would. */
  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = once(this.#child, 'exit');
      this.#child.kill('SIGTERM');
      await exited;
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #status(): Promise<ServeStatus> {
    return (await (await fetch(`${this.url}/admin/status`, { headers: this.#headers })).json()) as ServeStatus;
  }

  get #headers(): Record<string, string> {
    return { authorization: `Bearer ${this.keys.admin}` };
  }
}

function configuration(command: string, model: string, apiKeyFile: string): Record<string, unknown> {
  return {
    profile: 'production',
    model,
    engine: { command, parallel: SLOTS, ctxSize: 1024, args: ['--threads', '1'] },
    maxQueue: QUEUE_PLACES,
    rateLimit: { requestsPerMinute: null, requestsPerHour: null },
    retry: { retryDelay: 100 },
    gateway: { port: 'auto', apiKeyFile, drainTimeout: 2000 },
    log: { format: 'json' },
  };
}
