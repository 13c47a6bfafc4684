import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { writeFakeLlamaServerCommand } from '../../src/testing/fake-llama-server.ts';
import { writeTinyModel } from '../../src/testing/write-tiny-model.ts';
import type { ProbeAnswer, ProbeQuestion } from './probe.ts';

/** Slots of the engine. */
const SLOTS = 8;
/** Makes the tiny model as slow as a small one. */
const BALLAST_BYTES = 16_000_000;
/** V8 takes memory for young objects in steps, which are not to be mistaken for growth. */
const NODE_OPTIONS = ['--expose-gc', '--max-semi-space-size=4'];
const MAIN = path.resolve(import.meta.dirname, '../../src/cli/main.ts');
const PROBE = pathToFileURL(path.resolve(import.meta.dirname, 'probe.ts')).href;
const STOP_MS = 20_000;

/** Times to live that the run itself sets, in ms; the shorter, the sooner a leak can be told from a cache. */
export const CONFIGURED_LIFETIMES = { cleanupIntervalMs: 30_000, clientMaxAgeMs: 60_000 };

/** A running `llamero serve` that can be asked from inside. */
export interface Served extends AsyncDisposable {
  readonly port: number;
  ask(question: ProbeQuestion): Promise<ProbeAnswer>;
  /** Process id of the engine now; null while there is none. */
  enginePid(): Promise<number | null>;
  /** Requests that are not settled, and answers that have not reached their clients. */
  unsettled(): Promise<number>;
  /** Ends it as a service manager would. @returns how it ended: exit code or signal */
  stop(): Promise<string>;
}

/** @param command the llama-server; null: the double. */
export async function startServed(command: string | null): Promise<Served> {
  const folder = await mkdtemp(path.join(tmpdir(), 'llamero-soak-'));
  const double = command === null ? await writeFakeLlamaServerCommand({ tokensPerSecond: 1000 }) : null;
  const removeFiles = async (): Promise<void> => {
    await rm(folder, { recursive: true, force: true });
    await double?.remove();
  };
  try {
    const child = await startServe(folder, double?.command ?? command ?? '', command !== null);
    return serving(child.process, child.port, removeFiles);
  } catch (error) {
    await removeFiles();
    throw error;
  }
}

function serving(child: ChildProcess, port: number, removeFiles: () => Promise<void>): Served {
  return {
    port,
    ask: (question) => ask(child, question),
    enginePid: async () => (await statusOf(port)).pid,
    unsettled: async () => {
      const { inFlight, gateway } = await statusOf(port);
      return inFlight + gateway.openAnswers;
    },
    stop: () => stop(child),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await removeFiles();
    },
  };
}

/** @throws Error with the end of its log when it does not start; it has ended then. */
async function startServe(folder: string, engine: string, isReal: boolean) {
  const model = path.join(folder, 'tiny.gguf');
  await writeTinyModel(model, isReal ? { ballastBytes: BALLAST_BYTES } : {});
  const file = path.join(folder, 'llamero.json');
  await writeFile(file, JSON.stringify(configuration(engine, model)));
  const child = spawn(process.execPath, [...NODE_OPTIONS, '--import', PROBE, MAIN, 'serve', '--config', file], {
    cwd: folder,
    env: withoutOwnSettings(process.env),
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  return { process: child, port: await listening(child) };
}

interface Status {
  readonly pid: number | null;
  readonly inFlight: number;
  readonly gateway: { readonly openAnswers: number };
}

async function statusOf(port: number): Promise<Status> {
  const answer = await fetch(`http://127.0.0.1:${port}/admin/status`, { headers: { connection: 'close' } });
  return (await answer.json()) as Status;
}

/** One question at a time, as they are asked by one sampler. */
async function ask(child: ChildProcess, question: ProbeQuestion): Promise<ProbeAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<ProbeAnswer>();
  const onMessage = (answer: unknown): void => resolve(answer as ProbeAnswer);
  const onExit = (): void => reject(new Error('llamero serve has ended.'));
  child.once('message', onMessage).once('exit', onExit);
  child.send(question);
  try {
    return await promise;
  } finally {
    child.off('message', onMessage).off('exit', onExit);
  }
}

/** Waits for the line of the log that names the address, and goes on reading so that the log does not stop it. */
async function listening(child: ChildProcess): Promise<number> {
  if (child.stderr === null) throw new Error('stderr is piped');
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const last: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    const port = /"url":"http:\/\/[^"]*:(\d+)"/.exec(line)?.[1];
    if (port !== undefined) resolve(Number(port));
    last.push(line);
    if (last.length > 20) last.shift();
  });
  child.once('exit', () => reject(new Error(`llamero serve did not start:\n${last.join('\n')}`)));
  return promise;
}

async function stop(child: ChildProcess): Promise<string> {
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  const [code, signal] = (await exited) as [number | null, string | null];
  clearTimeout(timer);
  return String(code ?? signal);
}

/** Production, with limits that are counted but not reached, and short lives for what is remembered of clients. */
function configuration(command: string, model: string): Record<string, unknown> {
  return {
    profile: 'production',
    model,
    engine: {
      command,
      parallel: SLOTS,
      ctxSize: 1024,
      args: ['--threads', '1'],
      restart: { maxRestarts: 1000, window: 60_000, delay: 100, backoffMultiplier: 1, maxDelay: 500 },
    },
    maxConcurrentRequests: SLOTS,
    requestTimeout: 20_000,
    rateLimit: { requestsPerMinute: 1_000_000, requestsPerHour: null, maxClients: 1000 },
    cleanup: { interval: CONFIGURED_LIFETIMES.cleanupIntervalMs, maxAge: CONFIGURED_LIFETIMES.clientMaxAgeMs },
    retry: { retryDelay: 100 },
    gateway: { port: 'auto', drainTimeout: 5000 },
    log: { level: 'info', format: 'json' },
  };
}

/** The settings of whoever runs this must not change what is run. */
function withoutOwnSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^(LLAMERO|NODE_TEST|LOG_LEVEL|LLAMA_DEBUG)/.test(name)),
  );
}
