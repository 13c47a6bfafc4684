import type { AlertName, CircuitStateName, EngineStateName } from '../../core/events.ts';
import { METRICS } from '../metric-catalogue.ts';
import { FEWEST_ERRORS, PREDICTION_MS } from './alert-definitions.ts';
import type { AlertRule, AlertRules } from './alert-rules.ts';
import { histogramQuantile } from './histogram-quantile.ts';
import { type MemorySample, predictBytes } from './predict-memory.ts';

/** Durations are counted in the same buckets as for Prometheus, so that both see the same percentiles. */
export const FIRST_TOKEN_BOUNDS = METRICS.llamero_time_to_first_token_seconds.buckets;
export const QUEUE_WAIT_BOUNDS = METRICS.llamero_queue_wait_seconds.buckets;

/** Everything that alerts are decided by, at one moment; counts are those within the windows of their alerts. */
export interface AlertObservation {
  /** On the clock of the memory samples, in ms. */
  readonly nowMs: number;
  /** Label of the engine. */
  readonly engine: string;
  readonly requests: { readonly ended: number; readonly serverErrors: number };
  /** Times to the first token by model, counted in {@link FIRST_TOKEN_BOUNDS}. */
  readonly firstTokens: readonly { readonly model: string; readonly counts: Readonly<ArrayLike<number>> }[];
  /** Waiting for an engine, counted in {@link QUEUE_WAIT_BOUNDS}. */
  readonly queueWaits: Readonly<ArrayLike<number>>;
  /** Requests that wait, and that may. */
  readonly queue: { readonly length: number; readonly limit: number };
  /** What llamero itself may have. */
  readonly memoryLimitBytes: number;
  readonly truncations: number;
  readonly crashes: number;
  readonly hangs: number;
  /** Times that the engine became failed. */
  readonly failures: number;
  readonly state: EngineStateName;
  readonly circuit: CircuitStateName;
  readonly memory: { readonly limitBytes: number; readonly growthBytesPerRequest: number | null } | null;
  /** Of the engine, oldest first. */
  readonly memorySamples: readonly MemorySample[];
  /** Whose memory is short: llamero, engine, machine. */
  readonly shortOfMemory: readonly string[];
  readonly isRateLimitStoreUp: boolean;
  readonly process: ProcessReading;
}

/** What is seen of llamero's own process. */
export interface ProcessReading {
  /** In use, and how many there may be; null where it is not known: not on Linux. */
  readonly fileDescriptors: { readonly open: number; readonly most: number } | null;
  readonly residentBytes: number;
  /** 99th percentile since the last reading. */
  readonly eventLoopDelayMs: number;
}

/** A symptom that is there. */
export interface Symptom {
  readonly name: AlertName;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

type Finding = Omit<Symptom, 'name'>;
type Condition = (seen: AlertObservation, rule: AlertRule) => readonly Finding[];

/** The symptoms that are there at this moment, of the alerts that are looked for. Pure. */
export function findSymptoms(seen: AlertObservation, rules: AlertRules): Symptom[] {
  return Object.values(rules).flatMap((rule) =>
    CONDITIONS[rule.name](seen, rule).map((finding) => ({
      name: rule.name,
      labels: finding.labels,
      value: finding.value,
    })),
  );
}

const CONDITIONS: Readonly<Record<AlertName, Condition>> = {
  LlameroErrorRatioHigh: ({ requests: { ended, serverErrors } }, rule) =>
    serverErrors > FEWEST_ERRORS ? above(rule, serverErrors / Math.max(ended, serverErrors)) : [],
  LlameroSilentTruncation: ({ truncations }, rule) => above(rule, truncations),
  LlameroFirstTokenSlow: ({ firstTokens }, rule) =>
    firstTokens.flatMap(({ model, counts }) => above(rule, p95(FIRST_TOKEN_BOUNDS, counts), { model })),
  LlameroQueueWaitLong: ({ queueWaits }, rule) => above(rule, p95(QUEUE_WAIT_BOUNDS, queueWaits)),
  LlameroQueueNearlyFull: ({ queue }, rule) => above(rule, queue.length / queue.limit),
  LlameroEngineDown: ({ state, engine }) => when(state !== 'ready' && state !== 'stopped', { engine }),
  LlameroEngineFailed: ({ state, failures, engine }) => when(state === 'failed' || failures > 0, { engine }),
  LlameroEngineCrashLoop: ({ crashes, engine }, rule) => above(rule, crashes, { engine }),
  LlameroEngineHung: ({ hangs, engine }, rule) => above(rule, hangs, { engine }),
  LlameroCircuitOpen: ({ circuit, engine }) => when(circuit !== 'closed', { engine }),
  LlameroEngineMemoryGrowing: (seen) => memoryGrowing(seen),
  LlameroMemoryShort: ({ shortOfMemory }) => shortOfMemory.flatMap((of) => when(true, { of })),
  LlameroMemoryNearLimit: ({ process: { residentBytes }, memoryLimitBytes }, rule) =>
    above(rule, residentBytes / memoryLimitBytes),
  LlameroFileDescriptorsLow: ({ process: { fileDescriptors } }, rule) =>
    fileDescriptors === null ? [] : above(rule, fileDescriptors.open / fileDescriptors.most),
  LlameroEventLoopDelayed: ({ process: { eventLoopDelayMs } }, rule) => above(rule, eventLoopDelayMs / 1000),
  LlameroRateLimitStoreDown: ({ isRateLimitStoreUp }) => when(!isRateLimitStoreUp),
};

function memoryGrowing({ memory, memorySamples, nowMs, engine }: AlertObservation): Finding[] {
  if (memory === null || (memory.growthBytesPerRequest ?? 0) <= 0) return [];
  const bytes = predictBytes(memorySamples, nowMs + PREDICTION_MS);
  return bytes !== null && bytes > memory.limitBytes ? [{ labels: { engine }, value: bytes }] : [];
}

function above({ threshold }: AlertRule, value: number | null, labels: Finding['labels'] = {}): Finding[] {
  return value !== null && threshold !== null && value > threshold ? [{ labels, value }] : [];
}

function when(isThere: boolean, labels: Finding['labels'] = {}): Finding[] {
  return isThere ? [{ labels, value: 1 }] : [];
}

function p95(bounds: readonly number[], counts: Readonly<ArrayLike<number>>): number | null {
  return histogramQuantile(0.95, bounds, counts);
}
