import { median } from './statistics.ts';

/** What a figure should reach; see docs/performance.md. */
export type Reach = { readonly atMost: number } | { readonly atLeast: number };

/** One line of the table. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  /** One value per round, paired within its round where it compares two things. */
  readonly values: readonly number[];
  /** Absent: shown for orientation. */
  readonly reach?: Reach;
  /** Short remark, such as what the value is made of. */
  readonly note?: string;
}

/** Whether the median reaches what it should; null: nothing is demanded. */
export function isReached({ values, reach }: Figure): boolean | null {
  if (reach === undefined) return null;
  const middle = median(values);
  return 'atMost' in reach ? middle <= reach.atMost : middle >= reach.atLeast;
}

/** The table in Markdown, which reads well in a terminal too. */
export function renderTable(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => [
    figure.name + (figure.note === undefined ? '' : ` (${figure.note})`),
    withUnit(median(figure.values), figure.unit),
    figure.values.length > 1 ? `${format(Math.min(...figure.values))} … ${format(Math.max(...figure.values))}` : '',
    reachText(figure),
    { true: 'yes', false: '**no**', null: '' }[String(isReached(figure)) as 'true' | 'false' | 'null'],
  ]);
  const table = [['figure', 'median', 'min … max', 'to reach', 'reached'], ...rows];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...table.map((row) => (row[column] ?? '').length)));
  const lines = table.map((row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`);
  lines.splice(1, 0, `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`);
  return lines.join('\n');
}

function reachText({ reach, unit }: Figure): string {
  if (reach === undefined) return '';
  return 'atMost' in reach ? `≤ ${withUnit(reach.atMost, unit)}` : `≥ ${withUnit(reach.atLeast, unit)}`;
}

function withUnit(value: number, unit: string): string {
  return unit === '' ? format(value) : `${format(value)} ${unit}`;
}

/** Three significant digits, without exponents. */
function format(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3;
  return value.toFixed(digits);
}
