import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeTinyModel } from '../../src/testing/write-tiny-model.ts';
import { type KeyHolder, makeKeys } from './callers.ts';
import { BODY_LIMIT_BYTES } from './garbage.ts';
import { ServeLog } from './serve-log.ts';
import { exchange } from './wire.ts';

/** `timeouts.idle` of the run, in ms: a frozen engine is noticed a second later at most. */
export const IDLE_MS = 1500;
/** Slots of the engine. */
export const SLOTS = 4;
/** About 350 tokens per second for one request on one core, so that a long answer takes a second or three. */
const BALLAST_BYTES = 24_000_000;
const MAIN = path.resolve(import.meta.dirname, '../../src/cli/main.ts');
const STOP_MS = 20_000;
const ASK_MS = 10_000;

/** `/admin/status`, as far as this reads it. */
export interface ServeStatus {
  readonly state: string;
  readonly pid: number | null;
  readonly generation: number;
  readonly inFlight: number;
  readonly queued: number;
  readonly slotsInUse: number;
  readonly gateway: { readonly requests: number; readonly openAnswers: number };
  readonly fairness: { readonly classes: readonly { readonly service: number }[] };
}

/** A running `llamero serve` with a real llama-server behind it, set up to be tormented. */
export class Serve {
  readonly log: ServeLog;
  readonly port: number;
  readonly authorization: Readonly<Record<KeyHolder, string>>;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(child: ChildProcess, folder: string, log: ServeLog, port: number, keys: Serve['authorization']) {
    this.#child = child;
    this.#folder = folder;
    this.log = log;
    this.port = port;
    this.authorization = keys;
  }

  /** @param command the llama-server. */
  static async start(command: string): Promise<Serve> {
    const folder = await mkdtemp(path.join(tmpdir(), 'llamero-chaos-'));
    const model = path.join(folder, 'tiny.gguf');
    await writeTinyModel(model, { ballastBytes: BALLAST_BYTES });
    const apiKeyFile = path.join(folder, 'keys.json');
    const keys = await makeKeys(apiKeyFile);
    const file = path.join(folder, 'llamero.json');
    await writeFile(file, JSON.stringify(configuration(command, model, apiKeyFile)));
    const child = spawn(process.execPath, [MAIN, 'serve', '--config', file], {
      cwd: folder,
      env: withoutOwnSettings(process.env),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    if (child.stderr === null) throw new Error('stderr is piped');
    // Should the run itself break, llamero must not be left behind.
    const endChild = () => child.kill('SIGTERM');
    process.once('exit', endChild);
    child.once('exit', () => process.off('exit', endChild));
    const log = new ServeLog(child.stderr);
    try {
      return new Serve(child, folder, log, Number(new URL(await log.url).port), keys);
    } catch (error) {
      child.kill('SIGKILL');
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** How it ended: exit code or signal; null while it runs. */
  get end(): string | null {
    const { exitCode, signalCode } = this.#child;
    return exitCode === null && signalCode === null ? null : String(exitCode ?? signalCode);
  }

  /** @throws Error when it does not answer. */
  async status(): Promise<ServeStatus> {
    const headers = { authorization: this.authorization.admin };
    const to = { port: this.port };
    const { status, body } = await exchange({ to, method: 'GET', path: '/admin/status', headers, deadlineMs: ASK_MS });
    if (status !== 200) throw new Error(`/admin/status: ${status}`);
    return JSON.parse(body.toString()) as ServeStatus;
  }

  /** Resident memory in MB; null where the system does not tell. */
  async residentMb(): Promise<number | null> {
    try {
      const text = await readFile(`/proc/${this.pid}/status`, 'utf8');
      return Number(/^VmRSS:\s+(\d+)/m.exec(text)?.[1]) / 1024;
    } catch {
      // Not on Linux, or it has ended, which is noticed elsewhere.
      return null;
    }
  }

  /** Ends it as a service manager would. @returns its exit code or signal; null when it had to be killed. */
  async stop(): Promise<string | null> {
    const exited = this.end === null ? once(this.#child, 'exit') : Promise.resolve();
    this.#child.kill('SIGTERM');
    const waiting = new AbortController();
    await Promise.race([exited, sleep(STOP_MS, null, { signal: waiting.signal }).catch(() => null)]);
    waiting.abort();
    const end = this.end;
    if (end === null) this.#child.kill('SIGKILL');
    await exited;
    await rm(this.#folder, { recursive: true, force: true });
    return end;
  }
}

/** Everything short, so that all of it happens often. */
function configuration(command: string, model: string, apiKeyFile: string): Record<string, unknown> {
  return {
    profile: 'production',
    model,
    engine: {
      command,
      transport: 'unix',
      parallel: SLOTS,
      ctxSize: 1024,
      // Flash attention makes answers depend on what else is in the batch, in the third digit; these are to be comparable.
      args: ['--threads', '1', '--cache-type-k', 'f32', '--cache-type-v', 'f32', '--flash-attn', 'off'],
      restart: { maxRestarts: 1000, window: 60_000, delay: 100, backoffMultiplier: 1, maxDelay: 500 },
    },
    maxQueue: 16,
    requestTimeout: 20_000,
    timeouts: { queue: 5000, connect: 2000, firstToken: 10_000, idle: IDLE_MS },
    rateLimit: { requestsPerMinute: null, requestsPerHour: null, maxClients: 50 },
    cleanup: { interval: 5000, maxAge: 10_000 },
    retry: { retryDelay: 100 },
    circuitBreaker: { failureThreshold: 5, resetTimeout: 1000 },
    gateway: { port: 'auto', apiKeyFile, bodyLimit: BODY_LIMIT_BYTES, drainTimeout: 2000 },
    log: { level: 'debug', format: 'json' },
  };
}

/** The settings of whoever runs this must not change what is run. */
function withoutOwnSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^(LLAMERO|NODE_TEST|LOG_LEVEL|LLAMA_DEBUG)/.test(name)),
  );
}
