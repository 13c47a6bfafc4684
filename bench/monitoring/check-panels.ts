import type { Dashboard } from './make-dashboard.ts';
import type { Prometheus, Series } from './prometheus.ts';

/** What one query of the dashboard gave. */
export interface PanelResult {
  readonly title: string;
  readonly legend: string;
  /** Of the latest value; null where there is none. */
  readonly last: number | null;
  readonly most: number | null;
  /** What is wrong; null: nothing. */
  readonly flaw: string | null;
}

/** Panels that may be empty, and why. */
export const MAY_BE_EMPTY: Readonly<Record<string, string>> = {
  'GPU memory of engines': 'there is no GPU',
};

/** Long enough for a rate over scrapes of a second. */
const RATE_INTERVAL = '10s';
const STEP_SECONDS = 1;

/**
 * Runs every query of the dashboard over the time since `from`, in seconds since 1970, as Grafana would with all gateways chosen. A
 * query that Prometheus refuses, or that never has a value, is a flaw.
 */
export async function checkPanels(
  dashboard: Dashboard,
  prometheus: Pick<Prometheus, 'range'>,
  from: number,
): Promise<PanelResult[]> {
  const results: PanelResult[] = [];
  const marks = dashboard.annotations.list.map(({ name, target, titleFormat }) => ({
    title: name,
    targets: [{ expr: target.expr, legendFormat: titleFormat }],
  }));
  for (const { title, targets = [] } of [...dashboard.panels, ...marks]) {
    for (const { expr, legendFormat } of targets) {
      try {
        const series = await prometheus.range(asGrafanaSends(expr, from), from, STEP_SECONDS);
        results.push(...resultsOf(title, legendFormat, series));
      } catch (error) {
        const flaw = error instanceof Error ? error.message : String(error);
        results.push({ title, legend: legendFormat, last: null, most: null, flaw });
      }
    }
  }
  return results;
}

function asGrafanaSends(expression: string, from: number): string {
  return expression
    .replaceAll('$__rate_interval', RATE_INTERVAL)
    .replaceAll('$__range', `${Math.round(Date.now() / 1000 - from)}s`)
    .replaceAll(/\$(job|instance)\b/g, '.+');
}

function resultsOf(title: string, legend: string, series: readonly Series[]): PanelResult[] {
  const shown = series.map(({ labels, values }) => ({
    labels,
    values: values.filter((value) => !Number.isNaN(value)),
  }));
  const withValues = shown.filter(({ values }) => values.length > 0);
  if (withValues.length === 0) {
    const flaw = title in MAY_BE_EMPTY ? null : 'no data';
    return [{ title, legend, last: null, most: null, flaw }];
  }
  return withValues.map(({ labels, values }) => ({
    title,
    legend: legend.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => labels[name] ?? `(no ${name})`),
    last: values.at(-1) ?? null,
    most: Math.max(...values),
    flaw: [...legend.matchAll(/\{\{(\w+)\}\}/g)].every(([, name]) => (name ?? '') in labels)
      ? null
      : 'the legend names a label that is not there',
  }));
}
