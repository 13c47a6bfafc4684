import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { LlameroEmitter } from '../core/events.ts';
import { BEAT_INTERVAL_MS, type StallReport, type StallSamplerData } from './stall-beats.ts';

/** Options of {@link watchEventLoop}. */
export interface EventLoopWatchOptions {
  readonly events: LlameroEmitter;
  /** Shortest stall that is reported, in ms. Default 200. */
  readonly thresholdMs?: number;
  /**
   * Whether to find out what runs during a stall. A second thread then looks on and, when the event loop stalls, pauses the
   * program for some ms to read its stack. Costs 25 MB of memory and, as the
   * timer itself, a wake-up every so often. Default false.
   */
  readonly stacks?: boolean;
}

const DEFAULT_THRESHOLD_MS = 200;
/** A stack that comes later than this after its stall is not waited for. */
const STACK_GRACE_MS = 100;

/**
 * Reports every time that the event loop took no turn for longer than the threshold, as `event-loop-stall`. Seen by a timer that
 * comes late, ten times a second, and by how long the loop was idle meanwhile: in a process that is busy anyway a stall may be
 * told up to 100 ms too long. A process that was stopped, or got no processor, stalls as well.
 * @returns a function that ends the watching; idempotent.
 */
export function watchEventLoop(options: EventLoopWatchOptions): () => void {
  const { events, thresholdMs = DEFAULT_THRESHOLD_MS, stacks = false } = options;
  const sampler = stacks ? new StallSampler(thresholdMs) : null;
  let last = takeBeat();
  const timer = setInterval(() => {
    const beat = takeBeat();
    const ms = stallBetween(last, beat, thresholdMs);
    last = beat;
    const number = sampler?.beat();
    if (ms === null) return;
    if (sampler === null || number === undefined) events.publish('event-loop-stall', { ms, stack: null });
    else void sampler.stackOf(number).then((stack) => events.publish('event-loop-stall', { ms, stack }));
  }, BEAT_INTERVAL_MS).unref();
  return () => {
    clearInterval(timer);
    sampler?.stop();
  };
}

/** One turn of the watching timer; ms. */
export interface Beat {
  readonly at: number;
  /** How long the loop has waited for something to do, since the process began. */
  readonly idleMs: number;
}

/** @returns how long the loop stood still between two beats, or null where it was not that long. Pure. */
export function stallBetween(last: Beat, beat: Beat, thresholdMs: number): number | null {
  const gapMs = beat.at - last.at;
  // What took its time before the timer was due did not hold the loop up for long.
  if (gapMs < Math.max(thresholdMs, 2 * BEAT_INTERVAL_MS)) return null;
  const busyMs = Math.round(gapMs - (beat.idleMs - last.idleMs));
  return busyMs < thresholdMs ? null : busyMs;
}

function takeBeat(): Beat {
  return { at: performance.now(), idleMs: performance.eventLoopUtilization().idle };
}

/** The thread that looks on. What it finds is told apart by the number of the beat after which the loop stalled. */
class StallSampler {
  readonly #worker: Worker;
  readonly #beats = new Int32Array(new SharedArrayBuffer(4));
  readonly #waiting = new Map<number, (stack: readonly string[] | null) => void>();
  #last: StallReport | null = null;

  constructor(thresholdMs: number) {
    const workerData: StallSamplerData = { beats: this.#beats, thresholdMs };
    this.#worker = new Worker(new URL(`stall-sampler${extname(import.meta.url)}`, import.meta.url), {
      workerData,
      resourceLimits: { maxOldGenerationSizeMb: 32 },
    });
    this.#worker.unref();
    this.#worker.on('message', (report: StallReport) => {
      this.#last = report;
      this.#waiting.get(report.beat)?.(report.stack);
    });
    // Without it stalls are told all the same, without their stacks.
    this.#worker.on('error', (error) => process.emitWarning(`No stacks of stalls: ${error.message}`, 'LlameroWarning'));
  }

  /** The loop runs. @returns the number of the beat before. */
  beat(): number {
    return Atomics.add(this.#beats, 0, 1);
  }

  async stackOf(beat: number): Promise<readonly string[] | null> {
    if (this.#last?.beat === beat) return this.#last.stack;
    const { promise, resolve } = Promise.withResolvers<readonly string[] | null>();
    this.#waiting.set(beat, resolve);
    const timer = setTimeout(() => resolve(null), STACK_GRACE_MS);
    const stack = await promise;
    clearTimeout(timer);
    this.#waiting.delete(beat);
    return stack;
  }

  stop(): void {
    void this.#worker.terminate();
  }
}
