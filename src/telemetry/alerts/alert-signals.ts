import type { LlameroEmitter, LlameroEvents, SettledRequest } from '../../core/events.ts';
import { CappedLabels } from '../capped-labels.ts';
import { MOST_MODELS } from '../metrics.ts';
import type { ObservedStatus } from '../status-metrics.ts';
import {
  type AlertObservation,
  FIRST_TOKEN_BOUNDS,
  type ProcessReading,
  QUEUE_WAIT_BOUNDS,
} from './alert-conditions.ts';
import { ALERTS } from './alert-definitions.ts';
import type { AlertRules } from './alert-rules.ts';
import { bucketOf } from './histogram-quantile.ts';
import type { MemorySample } from './predict-memory.ts';
import { SlidingCounts } from './sliding-counts.ts';

/** What is watched: a `LlamaCppProvider`, or whatever emits the same events and has the same status. */
export interface AlertSource {
  readonly events: LlameroEmitter;
  status(): Pick<ObservedStatus, 'state' | 'circuit' | 'memory'> & {
    /** Requests that wait, and that may; without them the queue is no cause for alarm, and so is memory without a limit. */
    readonly queued?: number;
    readonly maxQueue?: number;
    readonly memoryLimitBytes?: number;
  };
}

/** Options of {@link AlertSignals}. */
export interface AlertSignalsOptions {
  readonly source: AlertSource;
  readonly rules: AlertRules;
  /** Label of the engine. */
  readonly engine: string;
  /** How often it is observed, in ms. */
  readonly intervalMs: number;
  /** Now, on the clock of {@link AlertSignals.observe}. */
  readonly nowMs: number;
}

/** So many looks at the memory of an engine are kept. */
const MOST_MEMORY_SAMPLES = 240;
/** Columns of the window of the error ratio. */
const ENDED = 0;
const SERVER_ERRORS = 1;

/**
 * Keeps what alerts are decided by: counts of the last minutes, from events, and states. Some additions for each request that ends, nothing for
 * a token; what it holds is bounded, whatever happens.
 */
export class AlertSignals {
  readonly #source: AlertSource;
  readonly #engine: string;
  readonly #requests: SlidingCounts;
  readonly #queueWaits: SlidingCounts;
  readonly #firstTokens = new Map<string, SlidingCounts>();
  readonly #newFirstTokens: (nowMs: number) => SlidingCounts;
  readonly #models = new CappedLabels(MOST_MODELS);
  readonly #truncations: SlidingCounts;
  readonly #crashes: SlidingCounts;
  readonly #hangs: SlidingCounts;
  readonly #failures: SlidingCounts;
  readonly #memoryWindowMs: number;
  #memorySamples: MemorySample[] = [];
  readonly #shortOfMemory = new Set<string>();
  #isRateLimitStoreUp = true;
  #nowMs: number;
  readonly #listening: (() => void)[] = [];

  constructor({ source, rules, engine, intervalMs, nowMs: startMs }: AlertSignalsOptions) {
    this.#source = source;
    this.#engine = engine;
    this.#nowMs = startMs;
    const windowOf = (name: keyof typeof ALERTS) => (rules[name] ?? ALERTS[name]).windowMs ?? 0;
    const counts = (name: keyof typeof ALERTS, columns = 1, nowMs = startMs) =>
      new SlidingCounts({ columns, windowMs: windowOf(name), sliceMs: intervalMs, nowMs });
    this.#requests = counts('LlameroErrorRatioHigh', 2);
    this.#queueWaits = counts('LlameroQueueWaitLong', QUEUE_WAIT_BOUNDS.length + 1);
    this.#newFirstTokens = (nowMs) => counts('LlameroFirstTokenSlow', FIRST_TOKEN_BOUNDS.length + 1, nowMs);
    this.#truncations = counts('LlameroSilentTruncation');
    this.#crashes = counts('LlameroEngineCrashLoop');
    this.#hangs = counts('LlameroEngineHung');
    this.#failures = counts('LlameroEngineFailed');
    this.#memoryWindowMs = windowOf('LlameroEngineMemoryGrowing');
    this.#listenToEvents();
  }

  /** What is the case now. Lets go of what is older than the windows afterwards, so that it is to be called at regular times. */
  observe(nowMs: number, process: ProcessReading): AlertObservation {
    const status = this.#source.status();
    const { state, circuit, memory = null } = status;
    if (memory !== null) this.#sampleMemory({ atMs: nowMs, bytes: memory.usedBytes });
    const seen: AlertObservation = {
      nowMs,
      engine: this.#engine,
      requests: { ended: this.#requests.total(ENDED), serverErrors: this.#requests.total(SERVER_ERRORS) },
      firstTokens: Array.from(this.#firstTokens, ([model, counts]) => ({ model, counts: counts.totals().slice() })),
      queueWaits: this.#queueWaits.totals().slice(),
      queue: { length: status.queued ?? 0, limit: status.maxQueue ?? Infinity },
      memoryLimitBytes: status.memoryLimitBytes ?? Infinity,
      truncations: this.#truncations.total(0),
      crashes: this.#crashes.total(0),
      hangs: this.#hangs.total(0),
      failures: this.#failures.total(0),
      state,
      circuit,
      memory,
      memorySamples: this.#memorySamples,
      shortOfMemory: [...this.#shortOfMemory],
      isRateLimitStoreUp: this.#isRateLimitStoreUp,
      process,
    };
    this.#advance(nowMs);
    return seen;
  }

  /** Listens no more. */
  stop(): void {
    for (const stop of this.#listening.splice(0)) stop();
  }

  #listenToEvents(): void {
    this.#listen('settled', (request) => this.#settled(request));
    this.#listen('request-refused', ({ error: { status } }) => {
      // Those of callers are none: anybody can send them, as many as it takes to hide that the others fail.
      if (status < 500) return;
      this.#requests.add(ENDED);
      this.#requests.add(SERVER_ERRORS);
    });
    this.#listen('stream-truncated', () => this.#truncations.add(0));
    this.#listen('engine-exit', ({ expected }) => {
      if (!expected) this.#crashes.add(0);
    });
    this.#listen('engine-hang', () => this.#hangs.add(0));
    this.#listen('engine-state', ({ to }) => {
      if (to === 'failed') this.#failures.add(0);
    });
    this.#listen('memory', ({ of, ok }) => {
      if (ok) this.#shortOfMemory.delete(of);
      else this.#shortOfMemory.add(of);
    });
    this.#listen('rate-limit-store', ({ ok }) => (this.#isRateLimitStoreUp = ok));
  }

  #listen<Name extends keyof LlameroEvents>(name: Name, listener: (payload: LlameroEvents[Name][0]) => void): void {
    // The typed overloads of EventEmitter do not resolve for a generic name.
    const untyped = this.#source.events as NodeJS.EventEmitter;
    untyped.on(name, listener);
    this.#listening.push(() => untyped.off(name, listener));
  }

  #settled({ outcome, error, model, queueMs, prefillMs, firstTokenMs, decodeMs }: SettledRequest): void {
    this.#requests.add(ENDED);
    if (outcome === 'failed' && (error?.status ?? 500) >= 500) this.#requests.add(SERVER_ERRORS);
    this.#queueWaits.add(bucketOf(QUEUE_WAIT_BOUNDS, queueMs / 1000));
    // The same streams as for /metrics.
    if (prefillMs === null || firstTokenMs === null || decodeMs === null) return;
    const label = this.#models.of(model);
    let firstTokens = this.#firstTokens.get(label);
    if (firstTokens === undefined) {
      firstTokens = this.#newFirstTokens(this.#nowMs);
      this.#firstTokens.set(label, firstTokens);
    }
    firstTokens.add(bucketOf(FIRST_TOKEN_BOUNDS, firstTokenMs / 1000));
  }

  #sampleMemory(sample: MemorySample): void {
    const last = this.#memorySamples.at(-1);
    // Looked at more often than can be kept: the samples stand further apart.
    if (last !== undefined && sample.atMs - last.atMs < this.#memoryWindowMs / MOST_MEMORY_SAMPLES) return;
    const kept = this.#memorySamples.filter(({ atMs }) => atMs > sample.atMs - this.#memoryWindowMs);
    this.#memorySamples = [...kept, sample];
  }

  #advance(nowMs: number): void {
    this.#nowMs = nowMs;
    for (const counts of this.#firstTokens.values()) counts.advance(nowMs);
    for (const counts of [this.#requests, this.#queueWaits, this.#truncations]) counts.advance(nowMs);
    for (const counts of [this.#crashes, this.#hangs, this.#failures]) counts.advance(nowMs);
  }
}
