import type { CircuitStateName, EngineStateName } from '../core/events.ts';
import type { MetricName } from './metric-catalogue.ts';
import type { MetricSeries, Reading } from './metric-series.ts';

/** What is read at scrape time of one provider: state that no event tells. Its `status()` has all of it. */
export interface ObservedStatus {
  readonly inFlight: number;
  readonly maxQueue?: number;
  readonly memoryLimitBytes?: number;
  readonly slotsInUse: number;
  readonly circuit: CircuitStateName;
  readonly limitedClients?: number;
  readonly fairness: {
    readonly gap: number;
    readonly bound: number;
    readonly waitingClients: number;
    readonly knownClients: number;
    readonly classes: readonly { readonly name: string; readonly waiting: number; readonly service: number }[];
  };
  readonly state: EngineStateName;
  readonly facts: { readonly model: string; readonly slots: number; readonly build: string } | null;
  readonly readySince: number | null;
  readonly startMs: number | null;
  readonly memory?: {
    readonly usedBytes: number;
    readonly limitBytes: number;
    readonly growthBytesPerRequest: number | null;
    readonly gpuBytes: number | null;
  } | null;
}

/** A status and the label of its engine. */
export interface LabelledStatus {
  readonly engine: string;
  readonly status: ObservedStatus;
}

/**
 * Lets gauges read the status of all engines at scrape time.
 * @param statuses called for each gauge.
 */
export function showStatus(series: MetricSeries<MetricName>, statuses: () => readonly LabelledStatus[]): void {
  const ofAll = (name: MetricName, combine: (all: readonly ObservedStatus[]) => number) => {
    series.readAtScrape(name, () => [[{}, combine(statuses().map(({ status }) => status))]]);
  };
  ofAll('llamero_requests_in_flight', (all) => sum(all, ({ inFlight }) => inFlight));
  ofAll('llamero_waiting_clients', (all) => sum(all, ({ fairness }) => fairness.waitingClients));
  ofAll('llamero_known_clients', (all) => sum(all, ({ fairness }) => fairness.knownClients));
  ofAll('llamero_rate_limited_clients', (all) => sum(all, ({ limitedClients }) => limitedClients ?? 0));
  ofAll('llamero_fairness_gap_tokens', (all) => Math.max(0, ...all.map(({ fairness }) => fairness.gap)));
  ofAll('llamero_fairness_bound_tokens', (all) => Math.max(0, ...all.map(({ fairness }) => fairness.bound)));
  ofAll('llamero_queue_limit', (all) => sum(all, ({ maxQueue }) => maxQueue ?? 0));
  // All are in one process: the lowest limit is met first.
  series.readAtScrape('llamero_memory_limit_bytes', () => {
    const lowest = Math.min(...statuses().map(({ status }) => status.memoryLimitBytes ?? Infinity));
    return lowest === Infinity ? [] : [[{}, lowest]];
  });
  series.readAtScrape('llamero_queue_length', () => byClass(statuses(), ({ waiting }) => waiting));
  const served = new Map<string, number>();
  series.readAtScrape('llamero_service_tokens_total', () => neverLess(served, statuses()));
  showEngines(series, statuses);
}

/** One gauge, one line for each engine of which it is known. */
function showEngines(series: MetricSeries<MetricName>, statuses: () => readonly LabelledStatus[]): void {
  const ofEach = (
    name: MetricName,
    read: (status: ObservedStatus) => number | null | undefined,
    labels: (status: ObservedStatus) => Record<string, string> = () => ({}),
  ) => {
    series.readAtScrape(name, () =>
      statuses().flatMap(({ engine, status }): Reading[] => {
        const value = read(status);
        return value === null || value === undefined ? [] : [[{ engine, ...labels(status) }, value]];
      }),
    );
  };
  ofEach(
    'llamero_engine_info',
    ({ facts }) => (facts === null ? null : 1),
    ({ facts }) => ({ model: facts?.model ?? '', build: facts?.build ?? '' }),
  );
  ofEach('llamero_engine_up', ({ state }) => (state === 'ready' ? 1 : 0));
  ofEach(
    'llamero_engine_state',
    () => 1,
    ({ state }) => ({ state }),
  );
  ofEach('llamero_engine_slots', ({ facts }) => facts?.slots);
  ofEach('llamero_engine_slots_in_use', ({ slotsInUse }) => slotsInUse);
  ofEach('llamero_engine_start_duration_seconds', ({ startMs }) => seconds(startMs));
  ofEach('llamero_engine_ready_since_timestamp_seconds', ({ readySince }) => seconds(readySince));
  ofEach('llamero_engine_memory_bytes', ({ memory }) => memory?.usedBytes);
  ofEach('llamero_engine_memory_limit_bytes', ({ memory }) => memory?.limitBytes);
  ofEach('llamero_engine_memory_growth_bytes_per_request', ({ memory }) => memory?.growthBytesPerRequest);
  ofEach('llamero_engine_gpu_memory_bytes', ({ memory }) => memory?.gpuBytes);
  ofEach(
    'llamero_circuit_state',
    () => 1,
    ({ circuit }) => ({ state: circuit }),
  );
}

type PriorityClassReport = ObservedStatus['fairness']['classes'][number];

function byClass(statuses: readonly LabelledStatus[], read: (report: PriorityClassReport) => number): Reading[] {
  const totals = new Map<string, number>();
  for (const { status } of statuses) {
    for (const report of status.fairness.classes) {
      totals.set(report.name, (totals.get(report.name) ?? 0) + read(report));
    }
  }
  return Array.from(totals, ([name, total]): Reading => [{ class: name }, total]);
}

/** Service is charged by estimate and corrected later, but a counter that goes down would count as started anew. */
function neverLess(served: Map<string, number>, statuses: readonly LabelledStatus[]): Reading[] {
  return byClass(statuses, ({ service }) => service).map(([labels, value]): Reading => {
    const name = labels['class'] ?? '';
    const most = Math.max(value, served.get(name) ?? 0);
    served.set(name, most);
    return [labels, most];
  });
}

function sum(all: readonly ObservedStatus[], read: (status: ObservedStatus) => number): number {
  return all.reduce((total, status) => total + read(status), 0);
}

function seconds(milliseconds: number | null): number | null {
  return milliseconds === null ? null : milliseconds / 1000;
}
