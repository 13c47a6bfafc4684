import { type Metric, Registry } from 'prom-client';
import type { MetricDefinition } from './metric-catalogue.ts';
import type { LabelValues, MetricSeries, ShownSeries } from './metric-series.ts';

/** One line of a metric. prom-client writes the labels in `sharedLabels` once and keeps their text as long as the object lives. */
interface Line {
  readonly metricName?: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly sharedLabels: LabelValues;
  readonly value: number;
}

const NO_LABELS = {};
const AT_ZERO: readonly ShownSeries[] = [{ labels: NO_LABELS, value: 0 }];

/** Writes what has been counted in Prometheus' text format, with prom-client. */
export class Exposition {
  readonly #registry = new Registry();

  /** Adds all metrics of a table. @throws Error when a name of it is there already. */
  add<Name extends string>(series: MetricSeries<Name>): void {
    for (const [name, definition] of Object.entries(series.definitions) as [Name, MetricDefinition][]) {
      const metric = shownMetric(name, definition, () => series.shown(name));
      // A registry asks `getForPromString` and nothing else; the classes that its types name can only be filled by observing.
      this.#registry.registerMetric(metric as unknown as Metric);
    }
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}

function shownMetric(name: string, { type, help, labels, buckets = [] }: MetricDefinition, shown: () => ShownSeries[]) {
  const getForPromString = async () => {
    const present = shown();
    // A counter without labels begins at 0, so that its first increase can be seen.
    const all = present.length === 0 && type === 'counter' && labels.length === 0 ? AT_ZERO : present;
    return { name, help, type, values: all.flatMap((series) => linesOf(name, series, buckets)) };
  };
  return { name, getForPromString };
}

function linesOf(name: string, series: ShownSeries, bounds: readonly number[]): Line[] {
  const sharedLabels = series.labels;
  if ('value' in series) return [{ labels: NO_LABELS, sharedLabels, value: series.value }];
  const { cumulative, sum } = series.distribution.snapshot();
  return [
    ...cumulative.map((value, index) => ({
      metricName: `${name}_bucket`,
      labels: { le: bounds[index] ?? '+Inf' },
      sharedLabels,
      value,
    })),
    { metricName: `${name}_sum`, labels: NO_LABELS, sharedLabels, value: sum },
    { metricName: `${name}_count`, labels: NO_LABELS, sharedLabels, value: cumulative.at(-1) ?? 0 },
  ];
}
