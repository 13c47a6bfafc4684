import { once } from 'node:events';
import { mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import type { ConfigInput } from '../../config.ts';
import type { LlameroEvents } from '../../events.ts';
import { writeTinyModel } from '../../../testing/index.ts';
import { LlamaCppProvider } from '../llama-cpp-provider.ts';

// Without this a test would begin to install llama-server, for minutes.
if (!process.env['LLAMA_SERVER_PATH']) throw new Error('LLAMA_SERVER_PATH is not set: run the tests through npm test.');

/** A directory of one test file, removed at its end. */
export async function temporaryDirectory(): Promise<AsyncDisposable & { path: string }> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'llamero-test-'));
  return { path: directory, [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) };
}

/** A tiny model in that directory. */
export async function tinyModel(
  directory: string,
  options: Parameters<typeof writeTinyModel>[1] = {},
): Promise<string> {
  const file = path.join(directory, `tiny-${JSON.stringify(options).replaceAll(/[^\w]/g, '')}.gguf`);
  await writeTinyModel(file, options);
  return file;
}

/** Records events of a provider in order of arrival. */
export function record<Name extends keyof LlameroEvents>(
  provider: LlamaCppProvider,
  name: Name,
): LlameroEvents[Name][0][] {
  const seen: LlameroEvents[Name][0][] = [];
  provider.on(name, (...payload) => seen.push(payload[0]));
  return seen;
}

/** The next event of that name that fits. */
export async function nextEvent<Name extends keyof LlameroEvents>(
  provider: LlamaCppProvider,
  name: Name,
  fits: (event: LlameroEvents[Name][0]) => boolean = () => true,
): Promise<LlameroEvents[Name][0]> {
  return new Promise((resolve) => {
    const listener = (...payload: LlameroEvents[Name]): void => {
      if (!fits(payload[0])) return;
      provider.off(name, listener);
      resolve(payload[0]);
    };
    provider.on(name, listener);
  });
}

/**
 * A provider over the real llama-server and that model. With one thread, since the threads of a llama-server wait for each
 * other by spinning, which on busy cores costs two orders of magnitude.
 */
export function realProvider(model: string, options: ConfigInput = {}): LlamaCppProvider {
  const args = ['--threads', '1', ...(options.engine?.args ?? [])];
  return new LlamaCppProvider({ model, ...options, engine: { ctxSize: 2048, parallel: 4, ...options.engine, args } });
}

/** Asks the engine itself, past llamero, through its UNIX socket. */
export async function askEngine(socketPath: string, pathname: string): Promise<unknown> {
  const request = get({ socketPath, path: pathname });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return JSON.parse(text);
}

/** Socket path of the engine, from its start event. */
export function socketOf(args: readonly string[]): string {
  return args[args.indexOf('--host') + 1] ?? '';
}

/** How many slots of the engine are working, read at the engine. */
export async function busySlots(socketPath: string): Promise<number> {
  const slots = (await askEngine(socketPath, '/slots')) as { is_processing: boolean }[];
  return slots.filter((slot) => slot.is_processing).length;
}

/** Asks until it holds; without a pause of its own, since every question is a round trip. @returns ms it took. */
export async function untilAsync(holds: () => Promise<boolean>, deadlineMs: number): Promise<number> {
  const startedAt = performance.now();
  while (!(await holds())) {
    if (performance.now() - startedAt > deadlineMs) throw new Error(`did not hold within ${deadlineMs} ms`);
  }
  return performance.now() - startedAt;
}

/** Whether a process with that pid exists and is no zombie. */
export async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  if (process.platform !== 'linux') return true;
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
  } catch {
    return false;
  }
}

/** Open file descriptors of this process by what they point to; only counted on Linux. */
export async function openDescriptors(): Promise<number> {
  if (process.platform !== 'linux') return 0;
  const names = await readdir('/proc/self/fd');
  const targets = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => 'closed')));
  return targets.filter((target) => target !== 'closed' && !target.startsWith('/proc/')).length;
}
