import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { LlameroError } from '../errors.ts';
import type { EngineFacts } from './engine-endpoint.ts';
import type { EngineProcess } from './engine-process.ts';
import { probeFacts, probeHealth, type ProbeTarget } from './probe.ts';
import { CPU_TICK_MS, processWork } from './process-work.ts';

const FIRST_POLL_MS = 5;
const SLOWEST_POLL_MS = 250;
/** Share of one core that counts as work on the load; llamero's own probing costs the server far less. */
const BUSY_CPU_SHARE = 0.2;
const PAGE_BYTES = 4096;
/** Growth of resident memory that counts as work on the load. */
const GROWTH_BYTES = 1024 * 1024;

/** Thrown by {@link waitUntilVerified} when the load stood still for too long. */
export class StartupStalled extends LlameroError {
  constructor(stalledMs: number) {
    super('engine_unavailable', `The engine made no progress for ${Math.round(stalledMs)} ms while starting.`);
  }
}

/**
 * Waits until a starting engine is verified: `/health` says 200 and `/props` has been read. A load may take as long as it
 * makes progress: log output, CPU work or growing memory.
 * @param stallMs longest time without progress, in ms.
 * @throws StartupStalled, or the reason of the signal.
 */
export async function waitUntilVerified(
  target: ProbeTarget,
  engineProcess: EngineProcess,
  stallMs: number,
  signal: AbortSignal,
): Promise<EngineFacts> {
  const progress = new LoadProgress(engineProcess);
  for (let pauseMs = FIRST_POLL_MS; ; pauseMs = Math.min(pauseMs * 1.5, SLOWEST_POLL_MS, stallMs / 4)) {
    if ((await probeHealth(target, signal)) === 'ready') {
      try {
        return await probeFacts(target, signal);
      } catch (error) {
        // The server may answer /health a moment before /props is there; only silence for too long is a failure.
        if (signal.aborted) throw error;
      }
    }
    const stalledMs = await progress.stalledForMs();
    if (stalledMs > stallMs) throw new StartupStalled(stalledMs);
    await sleep(pauseMs, undefined, { signal });
  }
}

interface WorkSample {
  readonly cpuMs: number;
  readonly residentBytes: number;
}

/** Watches whether a loading process works. Where the system does not tell (not Linux), its log has to. */
class LoadProgress {
  readonly #process: EngineProcess;
  #progressAt = performance.now();
  #sampledAt = performance.now();
  #sample: WorkSample | null = null;

  constructor(engineProcess: EngineProcess) {
    this.#process = engineProcess;
  }

  async stalledForMs(): Promise<number> {
    const now = performance.now();
    const sample = this.#process.pid === undefined ? null : await workOf(this.#process.pid);
    const before = this.#sample;
    if (sample !== null && before !== null) {
      const worked = sample.cpuMs - before.cpuMs >= Math.max(2 * CPU_TICK_MS, BUSY_CPU_SHARE * (now - this.#sampledAt));
      if (worked || sample.residentBytes - before.residentBytes >= GROWTH_BYTES) this.#progressAt = now;
    }
    // Short intervals hold too few ticks to judge by; the sample stays until the interval is long enough.
    if (before === null || now - this.#sampledAt >= 10 * CPU_TICK_MS) {
      this.#sample = sample;
      this.#sampledAt = now;
    }
    return now - Math.max(this.#progressAt, this.#process.lastOutputAt);
  }
}

async function workOf(pid: number): Promise<WorkSample | null> {
  const work = await processWork(pid);
  if (work === null) return null;
  try {
    const memory = await readFile(`/proc/${pid}/statm`, 'utf8');
    return { cpuMs: work.cpuMs, residentBytes: Number(memory.split(' ')[1]) * PAGE_BYTES };
  } catch {
    // The process just ended; its exit tells the rest.
    return null;
  }
}
