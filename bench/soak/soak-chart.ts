import type { SoakSample } from './judge-soak.ts';

/** One line of a chart over time. */
export interface ChartSeries {
  readonly name: string;
  readonly unit: string;
  /** In the order of time. */
  readonly values: readonly number[];
}

const MEGABYTE = 1024 * 1024;
const BARS = '▁▂▃▄▅▆▇█';
const WIDTH = 960;
const PANEL = 150;
const LEFT = 90;
const RIGHT = 40;
const TOP = 34;
const COLOURS = ['#2563eb', '#0d9488', '#9333ea', '#ea580c', '#475569'];

/** What is drawn of a run. */
export function chartSeries(samples: readonly SoakSample[]): ChartSeries[] {
  const series: ChartSeries[] = [
    { name: 'heap', unit: 'MB', values: megabytes(samples.map(({ heap }) => heap)) },
    { name: 'external', unit: 'MB', values: megabytes(samples.map(({ external }) => external)) },
    { name: 'anonymous', unit: 'MB', values: megabytes(samples.flatMap(({ anonymous }) => anonymous ?? [])) },
    { name: 'descriptors', unit: '', values: samples.map(({ descriptors }) => descriptors) },
    { name: 'requests', unit: '/s', values: rates(samples) },
  ];
  return series.filter(({ values }) => values.length > 0);
}

/** Lines of block characters, one for each series, for a terminal. */
export function renderTextChart(series: readonly ChartSeries[], width = 60): string {
  return series.map((one) => textLine(one, width)).join('\n');
}

/** An SVG picture with a panel for each series over the same time. */
export function renderSvgChart(series: readonly ChartSeries[], seconds: readonly number[], title: string): string {
  const last = seconds.at(-1) ?? 0;
  const height = TOP + series.length * PANEL + 30;
  const panels = series.map((one, index) => panel(one, seconds, TOP + index * PANEL, COLOURS[index % COLOURS.length]));
  const axis = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const x = LEFT + part * (WIDTH - LEFT - RIGHT);
    return text(x, height - 12, `${((part * last) / 60).toFixed(1)} min`, 'middle');
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    `<text x="${LEFT}" y="20" font-size="15" font-weight="bold">${escape(title)}</text>`,
    ...panels,
    ...axis,
    '</svg>',
    '',
  ].join('\n');
}

function panel(series: ChartSeries, seconds: readonly number[], top: number, colour = '#000000'): string {
  const { name, unit, values } = series;
  const inner = PANEL - 34;
  const [low, high] = rangeOf(values);
  const last = seconds.at(-1) || 1;
  const points = values.map((value, index) => {
    const x = LEFT + ((seconds[index] ?? 0) / last) * (WIDTH - LEFT - RIGHT);
    const y = top + 22 + inner - ((value - low) / (high - low)) * inner;
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  const grid = [low, (low + high) / 2, high].map((value) => {
    const y = top + 22 + inner - ((value - low) / (high - low)) * inner;
    const line = `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y}" y2="${y}" stroke="#e2e8f0"/>`;
    return line + text(LEFT - 8, y + 4, short(value), 'end');
  });
  const shown = `${name}${unit === '' ? '' : ` (${unit})`}`;
  const line = `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${points.join(' ')}"/>`;
  return [text(LEFT, top + 14, shown, 'start'), ...grid, line].join('\n');
}

function textLine({ name, unit, values }: ChartSeries, width: number): string {
  const [low, high] = rangeOf(values);
  const columns = Math.min(width, values.length);
  const bars = Array.from({ length: columns }, (_, column) => {
    const from = Math.floor((column * values.length) / columns);
    const to = Math.max(from + 1, Math.floor(((column + 1) * values.length) / columns));
    const part = values.slice(from, to);
    const mean = part.reduce((sum, value) => sum + value, 0) / part.length;
    return BARS[Math.min(BARS.length - 1, Math.floor(((mean - low) / (high - low)) * BARS.length))];
  });
  return `${name.padEnd(12)}${bars.join('')}  ${short(Math.min(...values))} … ${short(Math.max(...values))} ${unit}`;
}

/** From zero where that is not far, so that a ripple does not look like a flood. */
function rangeOf(values: readonly number[]): [low: number, high: number] {
  const most = values.reduce((high, value) => Math.max(high, value), 0);
  return [0, most * 1.1 || 1];
}

function megabytes(values: readonly number[]): number[] {
  return values.map((bytes) => bytes / MEGABYTE);
}

function rates(samples: readonly SoakSample[]): number[] {
  return samples.map(({ seconds, requests }, index) => {
    const before = samples[index - 1];
    if (before === undefined) return requests / Math.max(seconds, 1);
    return (requests - before.requests) / Math.max(seconds - before.seconds, 1);
  });
}

function short(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(1);
}

function text(x: number, y: number, content: string, anchor: string): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="#334155">${escape(content)}</text>`;
}

function escape(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
