import { GEN_AI_METRICS, type MetricDefinition, METRICS, PROCESS_METRICS } from './metric-catalogue.ts';

/** The tables of docs/metrics.md, by the name in their marks. */
const TABLES: Readonly<Record<string, Readonly<Record<string, MetricDefinition>>>> = {
  llamero: METRICS,
  'gen-ai': GEN_AI_METRICS,
  process: PROCESS_METRICS,
};

/**
 * The page with its tables made anew. A table stands between `<!-- metrics NAME -->` and `<!-- end -->`. Pure.
 * @throws Error when a mark names no table.
 */
export function withTables(page: string): string {
  return page.replace(
    /(<!-- metrics ([\w-]+) -->\n)[^]*?(<!-- end -->)/g,
    (_all, begin: string, name: string, end: string) => {
      const metrics = TABLES[name];
      if (metrics === undefined) throw new Error(`docs/metrics.md asks for a table that is not there: ${name}`);
      return begin + tableOf(metrics) + end;
    },
  );
}

function tableOf(metrics: Readonly<Record<string, MetricDefinition>>): string {
  const rows = Object.entries(metrics).map(([name, { type, help, labels, buckets }]) => {
    const bounds = buckets === undefined ? '' : ` Buckets: ${buckets.join(', ')}.`;
    return `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help}${bounds} |\n`;
  });
  return `| metric | type | labels | meaning |\n|---|---|---|---|\n${rows.join('')}`;
}
