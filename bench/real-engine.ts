import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, type Dispatcher } from 'undici';
import { locateEngine } from '../src/core/engine/install/locate-engine.ts';
import { writeTinyModel, type TinyModelOptions } from '../src/testing/write-tiny-model.ts';
import { Skipped } from './bench-context.ts';
import { pinCommand } from './machine.ts';

/** Between two looks whether a server that was started by hand is ready. */
const LOOK_MS = 2;
const START_MS = 60_000;

/** The llama-server that llamero would use, too. @throws Skipped when there is none. */
export async function findEngine(): Promise<string> {
  const found = await locateEngine({ env: process.env });
  if (found === null) throw new Skipped('there is no llama-server here; `npm run llamero -- engine install` gets one');
  return found.path;
}

/** A model in a directory that is removed with the stack. */
export async function temporaryModel(stack: AsyncDisposableStack, options: TinyModelOptions = {}): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), 'llamero-bench-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const file = path.join(directory, 'model.gguf');
  await writeTinyModel(file, options);
  return file;
}

/** A llama-server without llamero. */
export interface RealEngine extends AsyncDisposable {
  readonly port: number;
  readonly client: Dispatcher;
}

/**
 * Starts a llama-server by hand, on the core that is not the gateway's, and waits until it is ready. One thread, because
 * threads that wait for each other on one core by spinning would be what is measured.
 */
export async function startEngine(command: string, model: string, slots: number): Promise<RealEngine> {
  const port = await freePort();
  const args = ['--model', model, '--host', '127.0.0.1', '--port', String(port), '--slots', '--no-ui'];
  const shape = ['--parallel', String(slots), '--ctx-size', String(1024 * slots), '--threads', '1'];
  const [program, ...programArgs] = pinCommand('load', [command, ...args, ...shape]);
  const child = spawn(program, programArgs, { stdio: 'ignore' });
  const client = new Client(`http://127.0.0.1:${port}`);
  try {
    await untilHealthy(client, child);
  } catch (error) {
    await endEngine(child, client);
    throw error;
  }
  return { port, client, [Symbol.asyncDispose]: () => endEngine(child, client) };
}

/** Looks until `/health` is 200. */
export async function untilHealthy(client: Dispatcher, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + START_MS;
  while (performance.now() < deadline && child.exitCode === null && child.signalCode === null) {
    try {
      const { statusCode, body } = await client.request({ path: '/health', method: 'GET' });
      await body.dump();
      if (statusCode === 200) return;
    } catch {
      // Nobody listens yet.
    }
    await sleep(LOOK_MS);
  }
  throw new Error('llama-server did not become ready');
}

/** Ends a server started by hand. */
export async function endEngine(child: ChildProcess, client: Dispatcher): Promise<void> {
  await client.destroy();
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** A TCP port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
