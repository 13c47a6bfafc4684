import type { MetricDefinition } from './metric-catalogue.ts';

/** Label values of one series, by label name. */
export type LabelValues = Readonly<Record<string, string>>;
/** One value of a gauge or counter that is read at scrape time. */
export type Reading = readonly [labels: LabelValues, value: number];

/** One series of a counter. Counting is an addition. */
export interface Count {
  value: number;
}

/** One series of a histogram: an observation is a short search and two additions. */
export class Distribution {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;

  /** @param bounds upper bounds of the buckets, ascending, without infinity. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket += 1;
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#sum += value;
  }

  /** Observations up to and including each bound, the last one being all of them; and the sum of their values. */
  snapshot(): { readonly cumulative: readonly number[]; readonly sum: number } {
    let count = 0;
    return { cumulative: Array.from(this.#counts, (inBucket) => (count += inBucket)), sum: this.#sum };
  }
}

/** What one metric shows, each series with its labels. */
export type ShownSeries =
  | { readonly labels: LabelValues; readonly value: number }
  | { readonly labels: LabelValues; readonly distribution: Distribution };

interface LabelledSeries<Cell> {
  readonly labels: LabelValues;
  readonly cell: Cell;
}

/**
 * Everything that is counted for the metrics of one table. Counting does not involve prom-client, which hashes the labels at each
 * observation (0.4 µs) and takes its time to load: it writes the text when somebody asks for it.
 */
export class MetricSeries<Name extends string> {
  readonly definitions: Readonly<Record<Name, MetricDefinition>>;
  readonly #counts = new Map<Name, Map<string, LabelledSeries<Count>>>();
  readonly #distributions = new Map<Name, Map<string, LabelledSeries<Distribution>>>();
  readonly #readers = new Map<Name, () => Iterable<Reading>>();

  constructor(definitions: Readonly<Record<Name, MetricDefinition>>) {
    this.definitions = definitions;
  }

  /** The series of a counter with these labels; keep it where it is counted often. */
  count(name: Name, labels: LabelValues = {}): Count {
    return cellOf(this.#counts, name, labels, () => ({ value: 0 }));
  }

  /** The series of a histogram with these labels; keep it where it is observed often. */
  distribution(name: Name, labels: LabelValues = {}): Distribution {
    const { buckets = [] } = this.definitions[name];
    return cellOf(this.#distributions, name, labels, () => new Distribution(buckets));
  }

  /** `read` tells all that a gauge or counter shows, each time it is asked. */
  readAtScrape(name: Name, read: () => Iterable<Reading>): void {
    this.#readers.set(name, read);
  }

  /** What a metric shows at this moment. */
  shown(name: Name): ShownSeries[] {
    const read = this.#readers.get(name);
    if (read !== undefined) return Array.from(read(), ([labels, value]) => ({ labels, value }));
    const counts = Array.from(this.#counts.get(name)?.values() ?? [], ({ labels, cell }) => ({
      labels,
      value: cell.value,
    }));
    const distributions = Array.from(this.#distributions.get(name)?.values() ?? [], ({ labels, cell }) => ({
      labels,
      distribution: cell,
    }));
    return [...counts, ...distributions];
  }
}

function cellOf<Name, Cell>(
  all: Map<Name, Map<string, LabelledSeries<Cell>>>,
  name: Name,
  labels: LabelValues,
  make: () => Cell,
): Cell {
  let series = all.get(name);
  if (series === undefined) all.set(name, (series = new Map()));
  const key = Object.values(labels).join('\0');
  let found = series.get(key);
  if (found === undefined) series.set(key, (found = { labels, cell: make() }));
  return found.cell;
}
