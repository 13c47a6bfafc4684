import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { Dispatcher } from 'undici';
import { type ConfigInput, parseConfig } from '../../config.ts';
import { LlameroEmitter, type LlameroEvents } from '../../events.ts';
import type { WatchedExchange } from '../../resilience/hang-watch.ts';
import type { ReadyEngine, ReplacementPlan } from '../engine-endpoint.ts';
import type { EngineSettings } from '../engine-settings.ts';
import { SupervisedEngine } from '../supervised-engine.ts';

/** A directory of one test file, removed at its end. */
export async function temporaryDirectory(): Promise<AsyncDisposable & { path: string }> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'llamero-engine-test-'));
  return { path: directory, [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) };
}

/** A planned restart of that generation, or of whichever there is, whose requests have ended when `drained` resolves. */
export function restartOf(
  generation: number | null,
  drained: Promise<unknown>,
  more: Partial<ReplacementPlan> = {},
): ReplacementPlan {
  return {
    cause: 'memory_limit',
    generation,
    drained: async () => void (await drained),
    slotsInUse: () => 0,
    settings: null,
    ...more,
  };
}

/** Settings as {@link supervised} makes them. */
export function settingsOf(command: string, model: string, options: ConfigInput['engine'] = {}): EngineSettings {
  const args = ['--threads', '1', ...(options.args ?? [])];
  const { engine: config } = parseConfig({ model, engine: { ctxSize: 4096, parallel: 2, ...options, args } });
  return { config, prepare: async () => ({ command, model: { path: model, name: 'tiny', poolingType: null } }) };
}

/**
 * A supervised engine over that program and model, with its events at hand. Disposing of it ends it.
 * @param overlap whether a planned restart starts the new engine beside the old one.
 */
export function supervised(command: string, model: string, options: ConfigInput['engine'] = {}, overlap = true) {
  const events = new LlameroEmitter();
  const engine = new SupervisedEngine({
    ...settingsOf(command, model, options),
    env: process.env,
    events,
    mayOverlap: () => overlap,
  });
  const exits: LlameroEvents['engine-exit'][0][] = [];
  events.on('engine-exit', (exit) => exits.push(exit));
  return { engine, events, exits, [Symbol.asyncDispose]: () => engine.stop() };
}

/** The next event of that name. */
export function nextEvent<Name extends keyof LlameroEvents>(
  events: LlameroEmitter,
  name: Name,
): Promise<LlameroEvents[Name][0]> {
  return new Promise((resolve) => events.once(name, ((payload: LlameroEvents[Name][0]) => resolve(payload)) as never));
}

/** One request at an engine: counts its signs of life as the pipeline does. */
export class EngineRequest implements WatchedExchange, Dispatcher.DispatchHandler {
  readonly generation: number;
  phase: WatchedExchange['phase'];
  lifeCount = 0;
  watchedLifeCount = -1;
  watchedSilentMs = 0;
  text = '';
  /** Resolves with everything that came, or rejects with what broke it. */
  readonly done: Promise<string>;
  readonly #settled = Promise.withResolvers<string>();
  readonly #lives: (() => void)[] = [];

  constructor(engine: ReadyEngine, body: { readonly prompt: string; readonly stream: boolean }) {
    this.generation = engine.generation;
    this.phase = body.stream ? 'prefill' : 'whole';
    this.done = this.#settled.promise;
    // Not every test looks at how it ended.
    this.done.catch(() => undefined);
    engine.dispatcher.dispatch(
      {
        path: '/completion',
        method: 'POST',
        headers: { 'content-type': 'application/json', ...engine.headers },
        body: JSON.stringify(body),
        headersTimeout: 0,
        bodyTimeout: 0,
      },
      this,
    );
  }

  /** Resolves at the next data event; rejects when none comes because the request broke. */
  async nextLife(): Promise<void> {
    await Promise.race([new Promise<void>((resolve) => this.#lives.push(resolve)), this.done]);
  }

  onRequestStart(): void {
    // undici wants it to be there, as the next one.
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    if (status !== 200) this.#settled.reject(new Error(`status ${status}`));
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const text = chunk.toString('utf8');
    this.text += text;
    const events = text.split('data: ').length - 1;
    if (events === 0) return;
    this.lifeCount += events;
    if (this.phase === 'prefill' && !text.includes('prompt_progress')) this.phase = 'decode';
    for (const wake of this.#lives.splice(0)) wake();
  }

  onResponseEnd(): void {
    this.phase = null;
    this.#settled.resolve(this.text);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.phase = null;
    this.#settled.reject(error);
  }
}

/** Whether a process with that pid exists and is no zombie (Linux). */
export async function isAlive(pid: number): Promise<boolean> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2)[0] !== 'Z';
  } catch {
    return false;
  }
}
