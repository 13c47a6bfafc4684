import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { request } from 'node:http';
import { LlameroError } from '../core/errors.ts';
import { readCounters } from './fake/counters-file.ts';
import type { FakeServerCounters, FakeServerSettings } from './fake/settings.ts';

/** Behaviour of a double; everything optional. See `FakeServerFaults` for what can go wrong. */
export type FakeLlamaServerBehaviour = Partial<Omit<FakeServerSettings, 'stateDirectory'>>;

/** Options of {@link startFakeLlamaServer}. */
export interface FakeLlamaServerOptions extends FakeLlamaServerBehaviour {
  /** Listens on this UNIX socket; the path must end in `.sock`. Default: TCP on 127.0.0.1. */
  socketPath?: string;
  /** TCP port. Default: a free one. */
  port?: number;
  /** Default 4. */
  slots?: number;
  /** Context length of one slot. Default 4096. */
  contextLength?: number;
  /** Further llama-server options, such as `--embeddings`. */
  args?: readonly string[];
  /**
   * What to wait for before returning: `ready` (default; `/health` says 200), `listening` (anything answers) or `spawned`, for doubles that
   * never listen.
   */
  waitFor?: 'ready' | 'listening' | 'spawned';
}

/** How a double ended: `code` or `signal`, as Node reports them. */
export interface FakeServerExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running double. */
export interface FakeLlamaServer extends AsyncDisposable {
  /** Base URL; with `socketPath`, `http://localhost` to be sent through the socket. */
  readonly url: string;
  readonly socketPath: string | null;
  readonly port: number | null;
  readonly pid: number;
  /** Resolves when the process is gone. */
  readonly exited: Promise<FakeServerExit>;
  /** What it wrote to standard error so far, the last megabyte of it. */
  readonly log: () => string;
  /** What it has seen so far. */
  readonly counters: () => FakeServerCounters;
  /** Resolves with the counters once they fulfil the condition. @throws the reason of `signal` when it aborts first. */
  readonly waitForCounters: (
    condition: (counters: FakeServerCounters) => boolean,
    signal?: AbortSignal,
  ) => Promise<FakeServerCounters>;
  /** Ends the process at once, whatever state it is in, and removes its files. May be called again. */
  readonly stop: () => Promise<void>;
}

/** A program file that behaves like llama-server; see {@link writeFakeLlamaServerCommand}. */
export interface FakeLlamaServerCommand extends AsyncDisposable {
  /** Path to call in place of llama-server. */
  readonly command: string;
  /** Sets the behaviour of later starts, all of it: what is not named is as by default again, the speed too. */
  readonly configure: (behaviour: FakeLlamaServerBehaviour) => Promise<void>;
  /** Counters of the start that ran last, and the number of starts. */
  readonly counters: () => FakeServerCounters;
  readonly waitForCounters: FakeLlamaServer['waitForCounters'];
  /** Removes the files. */
  readonly remove: () => Promise<void>;
}

const LOG_LENGTH = 1_048_576;
const POLL_MS = 5;
const START_TIMEOUT_MS = 20_000;
const PROGRAM = fileURLToPath(new URL(`fake-llama-server-program${extname(import.meta.url)}`, import.meta.url));

/**
 * Starts a child process that speaks the dialect of llama-server and makes the mistakes it is told to make.
 * @throws LlameroError `engine_unavailable` when it ends, or is not there within 20 s, before what `waitFor` asks for.
 */
export async function startFakeLlamaServer(options: FakeLlamaServerOptions = {}): Promise<FakeLlamaServer> {
  const { socketPath = null, slots = 4, contextLength = 4096, args = [], waitFor = 'ready', ...behaviour } = options;
  const directory = await mkdtemp(join(tmpdir(), 'llamero-fake-'));
  const settings = await writeSettings(directory, behaviour);
  const port = socketPath === null ? (options.port ?? (await freePort())) : null;
  const address = socketPath === null ? ['--host', '127.0.0.1', '--port', String(port)] : ['--host', socketPath];
  const child = spawn(
    process.execPath,
    [
      PROGRAM,
      '--fake-settings',
      settings,
      '-m',
      'fake.gguf',
      ...address,
      '-np',
      String(slots),
      '-c',
      String(slots * contextLength),
      ...args,
    ],
    // Its standard input is a pipe and it takes itself for a router's child: if this process dies, it ends too.
    { stdio: ['pipe', 'ignore', 'pipe'], env: { ...process.env, LLAMA_SERVER_ROUTER_PORT: '0' } },
  );
  const log = collectLog(child);
  const exited: Promise<FakeServerExit> = once(child, 'close').then(([code, signal]) => ({ code, signal }));
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
    await rm(directory, { recursive: true, force: true });
  };
  try {
    if (waitFor !== 'spawned') await waitUntilUp(child, { socketPath, port }, waitFor, log);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: socketPath === null ? `http://127.0.0.1:${port}` : 'http://localhost',
    socketPath,
    port,
    pid: child.pid ?? 0,
    exited,
    log,
    counters: () => readCounters(directory),
    waitForCounters: (condition, signal) => pollCounters(directory, condition, signal),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/**
 * Writes an executable that can be given as the command of an engine: it takes llama-server's options and behaves as
 * told. Settings lie in a file beside it and are read at each start, so `configure` and `firstStarts` can make a restart succeed.
 * A shell script on POSIX; a `.cmd` file on Windows, which Node starts only with `shell: true`.
 */
export async function writeFakeLlamaServerCommand(
  behaviour: FakeLlamaServerBehaviour = {},
): Promise<FakeLlamaServerCommand> {
  const directory = await mkdtemp(join(tmpdir(), 'llamero-fake-'));
  const settings = await writeSettings(directory, behaviour);
  const windows = process.platform === 'win32';
  const command = join(directory, windows ? 'llama-server.cmd' : 'llama-server');
  // `exec` keeps the process id, so that signals reach the double and its exit is the command's own.
  const script = windows
    ? `@"${process.execPath}" "${PROGRAM}" --fake-settings "${settings}" %*\r\n`
    : `#!/bin/sh\nexec ${[process.execPath, PROGRAM].map(quote).join(' ')} --fake-settings ${quote(settings)} "$@"\n`;
  await writeFile(command, script);
  await chmod(command, 0o755);
  const remove = async (): Promise<void> => rm(directory, { recursive: true, force: true });
  return {
    command,
    configure: async (next) => {
      await writeSettings(directory, next);
    },
    counters: () => readCounters(directory),
    waitForCounters: (condition, signal) => pollCounters(directory, condition, signal),
    remove,
    [Symbol.asyncDispose]: remove,
  };
}

async function writeSettings(directory: string, behaviour: FakeLlamaServerBehaviour): Promise<string> {
  const path = join(directory, 'settings.json');
  // A double that starts at this moment reads the old settings or the new ones.
  await writeFile(`${path}.new`, JSON.stringify({ ...behaviour, stateDirectory: directory }));
  await rename(`${path}.new`, path);
  return path;
}

function quote(argument: string): string {
  return `'${argument.replaceAll("'", String.raw`'\''`)}'`;
}

/** Keeps the end of the log; the text is put together only when it is asked for. */
function collectLog(child: ChildProcess): () => string {
  const chunks: string[] = [];
  let length = 0;
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    chunks.push(chunk);
    length += chunk.length;
    while (length - chunks[0]!.length >= LOG_LENGTH) length -= chunks.shift()!.length;
  });
  return () => chunks.join('').slice(-LOG_LENGTH);
}

async function pollCounters(
  directory: string,
  condition: (counters: FakeServerCounters) => boolean,
  signal?: AbortSignal,
): Promise<FakeServerCounters> {
  for (;;) {
    const counters = readCounters(directory);
    if (condition(counters)) return counters;
    await sleep(POLL_MS, undefined, { signal });
  }
}

async function waitUntilUp(
  child: ChildProcess,
  address: { socketPath: string | null; port: number | null },
  state: 'ready' | 'listening',
  log: () => string,
): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    const status = await healthStatus(address);
    if (status === 200 || (state === 'listening' && status !== null)) return;
    const ended = child.exitCode !== null || child.signalCode !== null;
    if (ended || performance.now() > deadline) {
      const how = ended ? `ended (code ${child.exitCode}, signal ${child.signalCode})` : 'is not there in time';
      throw new LlameroError('engine_unavailable', `The double of llama-server ${how}: ${log().slice(-2000)}`);
    }
    await sleep(POLL_MS);
  }
}

/** Status of `/health`; 0 if something that is not HTTP answers, null if nobody does. */
async function healthStatus({
  socketPath,
  port,
}: {
  socketPath: string | null;
  port: number | null;
}): Promise<number | null> {
  const { promise, resolve } = Promise.withResolvers<number | null>();
  const target = socketPath === null ? { host: '127.0.0.1', port } : { socketPath };
  const call = request({ ...target, path: '/health', agent: false, timeout: 1000 }, (response) => {
    response.resume();
    resolve(response.statusCode ?? 0);
  });
  call.once('error', (error: NodeJS.ErrnoException) => {
    resolve(error.code?.startsWith('HPE_') === true ? 0 : null);
  });
  call.once('timeout', () => call.destroy());
  call.end();
  return await promise;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new LlameroError('internal_error', 'No free TCP port.');
  return address.port;
}
