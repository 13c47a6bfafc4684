import type { EngineConfig } from '../config.ts';
import type { LlameroEmitter } from '../events.ts';
import { anonymousMemory, engineMemoryLimit } from './engine-memory.ts';
import type { EngineEndpoint } from './engine-endpoint.ts';
import { EngineMemoryTrend } from './engine-memory-trend.ts';
import {
  type EngineMemoryState,
  type EngineMemoryVerdict,
  judgeEngineMemory,
  NO_ENGINE_MEMORY,
} from './judge-engine-memory.ts';

const INTERVAL_MS = 5000;
/** After a replacement that failed: the old engine goes on, and goes on growing. */
const RETRY_AFTER_MS = 60_000;
const MEGABYTE = 1024 * 1024;
/** Room above what a fresh engine needs, in the limit that is proposed. */
const ROOM = 1.25;

export interface EngineMemoryWatchOptions {
  /** Its `memoryLimit` may change with a planned restart. */
  readonly engine: Pick<EngineEndpoint, 'current' | 'status' | 'memoryLimit'>;
  readonly events: LlameroEmitter;
  /** That generation has grown to its limit: replace it. Called once for a generation, and again some time after a rejection. */
  readonly onLimit: (generation: number, usedBytes: number) => Promise<unknown>;
  /** Default 5000. */
  readonly intervalMs?: number;
  /** Memory of a process in bytes, null where it is not known; default {@link anonymousMemory}. */
  readonly measure?: (pid: number) => Promise<number | null>;
}

/**
 * Watches the memory of the engine that takes requests. Does nothing where it is not known: on other systems than Linux, and for
 * an engine that somebody else runs. Owns one timer.
 */
export class EngineMemoryWatch {
  readonly #options: EngineMemoryWatchOptions;
  readonly #onReady = (): void => void this.#sample();
  readonly #trend: EngineMemoryTrend;
  #limit: { readonly of: EngineConfig['memoryLimit']; readonly bytes: Promise<number> } | null = null;
  #state: EngineMemoryState = NO_ENGINE_MEMORY;
  #timer: NodeJS.Timeout | undefined;
  #sampling = false;
  #retryAt = Infinity;

  constructor(options: EngineMemoryWatchOptions) {
    this.#options = options;
    this.#trend = new EngineMemoryTrend(options.events);
  }

  /** Idempotent. The timer does not keep the process alive. */
  start(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => void this.#sample(), this.#options.intervalMs ?? INTERVAL_MS).unref();
    // What a fresh engine needs has to be known before its first request makes it grow.
    this.#options.events.on('engine-ready', this.#onReady);
    this.#trend.start();
    void this.#sample();
  }

  /** Idempotent. A sample under way ends without consequences. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#options.events.off('engine-ready', this.#onReady);
    this.#trend.stop();
  }

  async #sample(): Promise<void> {
    const { engine, measure = anonymousMemory } = this.#options;
    if (this.#sampling) return;
    this.#sampling = true;
    const limitBytes = await this.#limitBytes(engine.memoryLimit);
    const generation = engine.current()?.generation;
    const { pid } = engine.status();
    const usedBytes = generation === undefined || pid === null ? null : await measure(pid);
    this.#sampling = false;
    if (this.#timer === undefined || usedBytes === null || engine.current()?.generation !== generation) return;
    if (performance.now() >= this.#retryAt) {
      this.#retryAt = Infinity;
      this.#state = { ...this.#state, acted: false };
    }
    const { state, verdict } = judgeEngineMemory(this.#state, { generation: generation ?? 0, usedBytes }, limitBytes);
    this.#state = state;
    void this.#trend.measured({ generation: state.generation, pid: pid ?? 0, usedBytes, limitBytes });
    if (verdict !== 'nothing') this.#announce(verdict, usedBytes, limitBytes);
    if (verdict === 'replace') void this.#replace(state.generation, usedBytes);
  }

  async #replace(generation: number, usedBytes: number): Promise<void> {
    try {
      await this.#options.onLimit(generation, usedBytes);
    } catch {
      // Whoever replaces tells why it failed.
      this.#retryAt = performance.now() + RETRY_AFTER_MS;
    }
  }

  #limitBytes(of: EngineConfig['memoryLimit']): Promise<number> {
    if (this.#limit?.of !== of) this.#limit = { of, bytes: engineMemoryLimit(of) };
    return this.#limit.bytes;
  }

  #announce(verdict: Exclude<EngineMemoryVerdict, 'nothing'>, usedBytes: number, limitBytes: number): void {
    const messages = {
      replace: `The engine uses ${megabytes(usedBytes)} MB and is replaced.`,
      'limit-too-low':
        `engine.memoryLimit (${megabytes(limitBytes)} MB) is too low: a fresh engine already needs ${megabytes(usedBytes)} MB. ` +
        `It is not replaced for its memory; a limit of ${megabytes(usedBytes * ROOM)} MB leaves it some room.`,
      recovered: `The fresh engine uses ${megabytes(usedBytes)} MB.`,
    };
    const ok = verdict === 'recovered';
    this.#options.events.publish('memory', { of: 'engine', ok, usedBytes, limitBytes, message: messages[verdict] });
  }
}

function megabytes(bytes: number): number {
  return Math.ceil(bytes / MEGABYTE);
}
