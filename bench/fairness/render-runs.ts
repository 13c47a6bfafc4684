import type { RunFigures } from './service-log.ts';

/** The schedulers beside each other, in Markdown; times to first token in seconds. */
export function renderRuns(runs: readonly RunFigures[]): string {
  const names = runs[0]?.clients.map(({ client }) => client) ?? [];
  const head = [
    'scheduler',
    'gap max',
    'gap avg',
    'tokens/s',
    ...names.map((name) => `${name}: share, p50, p99`),
    'refused',
  ];
  const rows = runs.map((run) => [
    run.scheduler,
    run.largestGap.toFixed(1),
    run.averageGap.toFixed(1),
    run.tokensPerSecond.toFixed(0),
    ...run.clients.map(
      ({ share, firstTokenP50, firstTokenP99 }) =>
        `${(share * 100).toFixed(0)} %, ${seconds(firstTokenP50)}, ${seconds(firstTokenP99)}`,
    ),
    String(run.clients.reduce((sum, { refused }) => sum + refused, 0)),
  ]);
  const table = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...table.map((row) => (row[column] ?? '').length)));
  const lines = table.map((row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`);
  lines.splice(1, 0, `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`);
  return lines.join('\n');
}

function seconds(ms: number): string {
  return Number.isFinite(ms) ? (ms / 1000).toFixed(ms < 10_000 ? 2 : 0) : '–';
}
