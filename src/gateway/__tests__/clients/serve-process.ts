import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { writeTinyModel } from '../../../testing/index.ts';
import { addApiKey } from '../../key-store.ts';

/**
 * Zero weights that make the tiny model write several hundred tokens per second instead of thousands: a long answer takes
 * so many seconds that something can happen in the middle of it, a short one stays quick.
 */
const BALLAST_BYTES = 8_000_000;
/** Longest answer that fits the context beside a short prompt; takes many seconds. */
export const LONG_ANSWER_TOKENS = 7500;
const CONTEXT_LENGTH = 8192;
/** Length of an answer in whose middle the engine is killed: long enough that it cannot end before. */
export const CONTINUED_TOKENS = 800;
/** Makes a stream whose engine is lost go on only as the same answer. */
export const EXACT_CONTINUATION = { 'x-stream-continuation': 'exact' };
/** Makes it end with an error. */
export const NO_CONTINUATION = { 'x-stream-continuation': 'off' };
/** The tests end engines: that must use up no budget and wait for no backoff. */
const CONFIGURATION = { engine: { restart: { maxRestarts: 1000, delay: 1, maxDelay: 1 } } };
const SLOTS = 4;
/** TypeScript or compiled, as this file is. */
const MAIN = fileURLToPath(new URL(`../../../cli/main${path.extname(import.meta.url)}`, import.meta.url));
const START_DEADLINE_MS = 60_000;
const STOP_DEADLINE_MS = 20_000;
const GIVE_UP_MS = 3_000;

interface EngineSlot {
  readonly is_processing: boolean;
}

/** A running `llamero serve` in a process of its own, with an API key, in front of a real llama-server. */
export class ServeProcess implements AsyncDisposable {
  /** Base address without a trailing slash. */
  readonly url: string;
  /** A key that it accepts. */
  readonly key: string;
  /** Name of its model. */
  readonly model = 'tiny';
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(child: ChildProcess, folder: string, url: string, key: string) {
    this.#child = child;
    this.#folder = folder;
    this.url = url;
    this.key = key;
  }

  /** Starts it and waits until it says that it serves. @throws with its last words if it does not. */
  static async start(): Promise<ServeProcess> {
    const folder = await mkdtemp(path.join(tmpdir(), 'llamero-clients-'));
    const model = path.join(folder, 'tiny.gguf');
    await writeTinyModel(model, { ballastBytes: BALLAST_BYTES });
    const keyFile = path.join(folder, 'keys.json');
    const { key } = await addApiKey(keyFile, 'tests');
    const configFile = path.join(folder, 'llamero.json');
    await writeFile(configFile, JSON.stringify(CONFIGURATION));
    const options = ['--port', 'auto', '--parallel', String(SLOTS), '--ctx-size', String(CONTEXT_LENGTH)];
    const child = spawn(
      process.execPath,
      [
        MAIN,
        'serve',
        model,
        ...options,
        '--api-key-file',
        keyFile,
        '--config',
        configFile,
        '--log-format',
        'json',
        '--',
        '--threads',
        '1',
      ],
      { cwd: folder, env: cleanEnvironment(), stdio: ['ignore', 'ignore', 'pipe'] },
    );
    return new ServeProcess(child, folder, await servingAt(child), key);
  }

  /** Asks the gateway with the key. */
  async get(target: string): Promise<unknown> {
    const response = await fetch(this.url + target, { headers: { authorization: `Bearer ${this.key}` } });
    assert.equal(response.status, 200, `GET ${target}`);
    return response.json();
  }

  /** Slots at work, as the engine itself tells through the gateway. */
  async busySlots(): Promise<number> {
    return ((await this.get('/slots')) as EngineSlot[]).filter((slot) => slot.is_processing).length;
  }

  /** Process id and state of the engine, and how many requests are in flight. */
  async status(): Promise<{ pid: number; state: string; inFlight: number }> {
    return (await this.get('/admin/status')) as { pid: number; state: string; inFlight: number };
  }

  /**
   * Replaces the engine: what one has in its caches changes the last digits of what it computes, and so, seldom, which token is
   * the likeliest. @returns the process id of the new one.
   */
  async freshEngine(): Promise<number> {
    const { pid: last } = await this.status();
    process.kill(last, 'SIGKILL');
    for (;;) {
      const { pid, state } = await this.status();
      if (pid !== last && state === 'ready') return pid;
    }
  }

  /** Ends it as a service manager would, and asserts that it went in good order and took the engine with it. */
  async stop(): Promise<void> {
    const { pid } = await this.status();
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const deadline = setTimeout(() => this.#child.kill('SIGKILL'), STOP_DEADLINE_MS);
    const end = await exited;
    clearTimeout(deadline);
    await rm(this.#folder, { recursive: true, force: true });
    // Windows has no signals: there a kill is a kill.
    if (process.platform !== 'win32') assert.deepEqual(end, [0, null], 'exit code and signal of llamero');
    assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' }, 'the engine is gone');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/**
 * Does `abort` while one answer is being generated. @returns how long the engine took from there to free the slot, in ms, at best.
 * Any single time may have waited for busy processors, several times over: `begin` and `abort` are done until it took less
 * than the required 100 ms, ten times at most.
 */
export async function slotFreedAfterMs(serve: ServeProcess, begin: () => Promise<() => unknown>): Promise<number> {
  const times: number[] = [];
  while (times.length < 10 && Math.min(...times) >= 100) {
    const abort = await begin();
    assert.equal(await serve.busySlots(), 1, 'one answer is being generated');
    const abortedAt = performance.now();
    await abort();
    let afterMs = 0;
    do afterMs = performance.now() - abortedAt;
    while ((await serve.busySlots()) > 0 && afterMs < GIVE_UP_MS);
    times.push(performance.now() - abortedAt);
  }
  return Math.min(...times);
}

/** The own settings of whoever runs the tests must not change what is tested. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(LLAMERO|NODE_TEST)_/.test(name)));
}

/** Reads the log until it tells the address, and goes on reading so that the pipe stays empty. */
async function servingAt(child: ChildProcess): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const log: string[] = [];
  if (child.stderr === null) throw new Error('stderr is piped');
  createInterface({ input: child.stderr }).on('line', (line) => {
    log.push(line);
    const entry = line.startsWith('{') ? (JSON.parse(line) as { msg?: string; url?: string }) : {};
    if (entry.msg === 'serving' && entry.url !== undefined) resolve(entry.url);
  });
  child.once('error', reject);
  child.once('exit', (code) => reject(new Error(`llamero serve ended with ${code}:\n${log.slice(-20).join('\n')}`)));
  const deadline = setTimeout(() => {
    child.kill('SIGKILL');
    reject(new Error(`llamero serve did not serve in time:\n${log.slice(-20).join('\n')}`));
  }, START_DEADLINE_MS);
  try {
    return await promise;
  } finally {
    clearTimeout(deadline);
  }
}
