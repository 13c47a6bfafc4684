/** What a dashboard consists of, without Grafana's JSON, which `make-dashboard.ts` makes of it. */

/** A query and the legend of its series. In the query, `@` stands for the labels that the viewer has chosen. */
export type Query = readonly [expression: string, legend: string];

/** One panel. */
export interface Panel {
  readonly title: string;
  /** What is seen, and what of it is a bad sign. */
  readonly description: string;
  /** Grafana's name of the unit, or `count` for what there are no parts of. */
  readonly unit: string;
  readonly queries: readonly Query[];
  /** Default `lines`. `stack`: areas on top of each other; `value`: a number, as it is now. */
  readonly as?: 'lines' | 'stack' | 'value';
  /** Of a value: from here on it is red. */
  readonly redFrom?: number;
}

/** Panels under one heading. */
export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

/** As long as it takes for a rate to have enough samples, which Grafana knows. */
export const RATE = '$__rate_interval';

/** Rates of a counter, summed by one label. */
export function rates(counter: string, label: string): Query {
  return [`sum by (${label}) (rate(${counter}{@}[${RATE}]))`, `{{${label}}}`];
}

/** Quantiles of a histogram, over all series that the viewer has chosen. */
export function quantiles(histogram: string, ...percents: number[]): Query[] {
  return percents.map((percent) => [
    `histogram_quantile(${percent / 100}, sum by (le) (rate(${histogram}_bucket{@}[${RATE}])))`,
    `p${percent}`,
  ]);
}

/** One quantile of a histogram for each value of a label, but `none`. */
export function quantileBy(histogram: string, percent: number, label: string): Query {
  const rate = `sum by (${label}, le) (rate(${histogram}_bucket{@, ${label}!="none"}[${RATE}]))`;
  return [`histogram_quantile(${percent / 100}, ${rate})`, `{{${label}}} p${percent}`];
}
