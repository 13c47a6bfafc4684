import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'undici';

/** Whatever came back: an answer, and how its body ended. */
export interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly bytes: Buffer;
  readonly text: string;
  /** What broke the body off, if anything. */
  readonly error: Error | null;
}

/** A server to talk to. */
export interface Target {
  readonly url: string;
  readonly socketPath?: string | null;
}

/** Sends a request over a connection of its own and reads the answer to its end, however it ends. */
export async function call(target: Target, path: string, body?: unknown, signal?: AbortSignal): Promise<Answer> {
  const client = new Client(target.url, target.socketPath ? { socketPath: target.socketPath } : {});
  try {
    const response = await client.request({
      path,
      method: body === undefined ? 'GET' : 'POST',
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal ?? null,
    });
    const chunks: Buffer[] = [];
    let error: Error | null = null;
    try {
      for await (const chunk of response.body) chunks.push(chunk as Buffer);
    } catch (thrown) {
      error = thrown as Error;
    }
    const bytes = Buffer.concat(chunks);
    return { status: response.statusCode, headers: response.headers, bytes, text: bytes.toString('utf8'), error };
  } finally {
    await client.destroy();
  }
}

/** The parsed body of a good answer. */
export async function callJson<Body>(target: Target, path: string, body?: unknown): Promise<Body> {
  const answer = await call(target, path, body);
  if (answer.status !== 200 || answer.error !== null) throw new Error(`${path}: ${answer.status} ${answer.text}`);
  return JSON.parse(answer.text) as Body;
}

/** The `data:` payloads of an event stream. */
export function frames(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('data: '))
    .map((line) => line.slice('data: '.length));
}

/** A directory that is gone afterwards. */
export async function temporaryDirectory(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'llamero-testing-'));
  return { path, [Symbol.asyncDispose]: async () => rm(path, { recursive: true, force: true }) };
}

/** The real llama-server with a model, listening on a UNIX socket (TCP where there is none), ready. */
export async function startRealServer(
  model: string,
  args: readonly string[] = [],
): Promise<Target & { pid: number } & AsyncDisposable> {
  const command = process.env['LLAMA_SERVER_PATH'];
  if (!command) throw new Error('LLAMA_SERVER_PATH must name a llama-server; npm test sets it.');
  const directory = await temporaryDirectory();
  const windows = process.platform === 'win32';
  const port = 20_000 + (process.pid % 20_000);
  const socketPath = windows ? null : join(directory.path, 'engine.sock');
  const address = socketPath === null ? ['--port', String(port)] : ['--host', socketPath];
  const child = spawn(command, ['-m', model, ...address, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (log += chunk));
  const closed = once(child, 'close');
  const target: Target = { url: socketPath === null ? `http://127.0.0.1:${port}` : 'http://localhost', socketPath };
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await closed;
    await directory[Symbol.asyncDispose]();
  };
  while (!(await isHealthy(target))) {
    if (child.exitCode !== null || child.signalCode !== null) {
      await stop();
      throw new Error(`llama-server did not start:\n${log}`);
    }
    await sleep(5);
  }
  return { ...target, pid: child.pid ?? 0, [Symbol.asyncDispose]: stop };
}

async function isHealthy(target: Target): Promise<boolean> {
  try {
    return (await call(target, '/health')).status === 200;
  } catch {
    // Not listening yet.
    return false;
  }
}
