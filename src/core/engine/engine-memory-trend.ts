import type { LlameroEmitter, SettledRequest } from '../events.ts';
import { GpuMemory } from './gpu-memory.ts';
import { addPoint, growthPerRequest, type MemoryPoint } from './memory-trend.ts';

/** One look at the memory of the engine that takes requests. */
export interface EngineMemorySample {
  readonly generation: number;
  readonly pid: number;
  readonly usedBytes: number;
  readonly limitBytes: number;
}

/** Sets what an engine uses against the requests that it has ended, and tells of it with the event `engine-memory`. */
export class EngineMemoryTrend {
  readonly #events: LlameroEmitter;
  readonly #gpu: GpuMemory;
  readonly #onSettled = ({ model }: SettledRequest): void => {
    // What has not come to an engine has cost it nothing.
    if (model !== null) this.#requests += 1;
  };
  #requests = 0;
  #generation = 0;
  #points: readonly MemoryPoint[] = [];

  constructor(events: LlameroEmitter, gpu = new GpuMemory()) {
    this.#events = events;
    this.#gpu = gpu;
  }

  /** Begins to count requests. */
  start(): void {
    this.#events.on('settled', this.#onSettled);
  }

  /** Idempotent. */
  stop(): void {
    this.#events.off('settled', this.#onSettled);
  }

  /** Takes a sample in. Never rejects. */
  async measured({ generation, pid, usedBytes, limitBytes }: EngineMemorySample): Promise<void> {
    if (generation !== this.#generation) {
      this.#generation = generation;
      this.#requests = 0;
      this.#points = [];
    }
    this.#points = addPoint(this.#points, { requests: this.#requests, usedBytes });
    const growthBytesPerRequest = growthPerRequest(this.#points);
    const gpuBytes = await this.#gpu.usedBy(pid);
    this.#events.publish('engine-memory', { generation, usedBytes, limitBytes, growthBytesPerRequest, gpuBytes });
  }
}
