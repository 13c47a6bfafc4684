import { ENGINE_ROWS } from './engine-rows.ts';
import { type Panel, type Query, RATE } from './panel.ts';
import { REQUEST_ROWS } from './request-rows.ts';

/** The part of Grafana's dashboard model that is used here. */
export interface Dashboard {
  readonly panels: readonly GrafanaPanel[];
  readonly annotations: { readonly list: readonly Annotation[] };
  readonly [key: string]: unknown;
}

/** A mark through all panels, where its query has a value. */
export interface Annotation {
  readonly name: string;
  readonly target: { readonly refId: string; readonly expr: string; readonly interval: string };
  readonly titleFormat: string;
  readonly [key: string]: unknown;
}

/** A panel, or the heading of a row. */
export interface GrafanaPanel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly refId: string; readonly expr: string; readonly legendFormat: string }[];
  readonly [key: string]: unknown;
}

/** The last version of Grafana's classic model, which newer ones read as well. */
const SCHEMA_VERSION = 42;
const GRID_WIDTH = 24;
const CHOSEN = 'job=~"$job", instance=~"$instance"';
const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };
const SIZES = { value: { w: 3, h: 4 }, lines: { w: 8, h: 8 }, stack: { w: 8, h: 8 } };

const NOTHING = '–';
/** The same in all panels, whichever series there are. */
const COLORS = Object.entries({ completed: 'green', failed: 'red', cancelled: 'yellow', client_gone: 'yellow' }).map(
  ([name, fixedColor]) => ({
    matcher: { id: 'byName', options: name },
    properties: [{ id: 'color', value: { mode: 'fixed', fixedColor } }],
  }),
);

/** The dashboard as Grafana imports it. */
export function makeDashboard(): Dashboard {
  return {
    title: 'llamero',
    uid: 'llamero',
    description: 'What llamero and its engines do. See docs/monitoring.md.',
    tags: ['llamero', 'llama.cpp'],
    schemaVersion: SCHEMA_VERSION,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: '30s',
    time: { from: 'now-1h', to: 'now' },
    timezone: 'browser',
    templating: { list: variables() },
    annotations: { list: [crashes()] },
    links: [],
    panels: placed(),
  };
}

/** Rows below each other, their panels from left to right. */
function placed(): GrafanaPanel[] {
  const panels: GrafanaPanel[] = [];
  let y = 0;
  const nextId = () => panels.length + 1;
  for (const row of [...REQUEST_ROWS, ...ENGINE_ROWS]) {
    const gridPos = { x: 0, y, w: GRID_WIDTH, h: 1 };
    panels.push({ id: nextId(), type: 'row', title: row.title, collapsed: false, gridPos, panels: [] });
    y += 1;
    let x = 0;
    let height = 0;
    for (const panel of row.panels) {
      const size = SIZES[panel.as ?? 'lines'];
      if (x + size.w > GRID_WIDTH) {
        x = 0;
        y += height;
      }
      panels.push(grafanaPanel(panel, nextId(), { x, y, ...size }));
      x += size.w;
      height = size.h;
    }
    y += height;
  }
  return panels;
}

function grafanaPanel(panel: Panel, id: number, gridPos: GrafanaPanel['gridPos']): GrafanaPanel {
  const { title, description, queries } = panel;
  // The last of a range would be shown for as long as it is in the range: a gateway that is gone would look well.
  const isValue = panel.as === 'value';
  const targets = queries.map(([expression, legend], index) => ({
    refId: String.fromCodePoint('A'.charCodeAt(0) + index),
    datasource: DATASOURCE,
    editorMode: 'code',
    expr: chosen(expression),
    legendFormat: legend,
    instant: isValue,
    range: !isValue,
  }));
  const look = isValue ? valueLook(panel) : lineLook(panel);
  return { id, title, description, datasource: DATASOURCE, gridPos, ...look, targets };
}

function valueLook({ unit, redFrom }: Panel) {
  const red = redFrom === undefined ? [] : [{ color: 'red', value: redFrom }];
  const thresholds = { mode: 'absolute', steps: [{ color: 'green', value: null }, ...red] };
  // No such series, or a part of no requests at all: neither good nor bad.
  const result = { text: NOTHING, color: 'text', index: 0 };
  const mappings = [{ type: 'special', options: { match: 'null+nan', result } }];
  return {
    type: 'stat',
    fieldConfig: { defaults: { ...grafanaUnit(unit), thresholds, mappings, noValue: NOTHING }, overrides: [] },
    options: {
      colorMode: 'value',
      graphMode: 'none',
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
    },
  };
}

function lineLook({ unit, as }: Panel) {
  const custom = {
    // Areas have no lines: that of a series that is 0 would lie on the one below it.
    fillOpacity: as === 'stack' ? 70 : 0,
    lineWidth: as === 'stack' ? 0 : 1,
    showPoints: 'auto',
    stacking: { mode: as === 'stack' ? 'normal' : 'none', group: 'A' },
  };
  return {
    type: 'timeseries',
    fieldConfig: { defaults: { ...grafanaUnit(unit), min: 0, custom }, overrides: COLORS },
    options: {
      legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
  };
}

function grafanaUnit(unit: string): Record<string, unknown> {
  return unit === 'count' ? { unit: 'short', decimals: 0 } : { unit };
}

function variables(): Record<string, unknown>[] {
  return [
    { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus' },
    labelVariable('job', 'Job', 'label_values(llamero_build_info, job)'),
    labelVariable('instance', 'Gateway', 'label_values(llamero_build_info{job=~"$job"}, instance)'),
  ];
}

/** A variable whose *All* are its values: `.+` would be the processes of all jobs that Prometheus knows. */
function labelVariable(name: string, label: string, query: string): Record<string, unknown> {
  return {
    name,
    label,
    type: 'query',
    datasource: DATASOURCE,
    query: { query, refId: name },
    definition: query,
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    current: { text: ['All'], value: ['$__all'] },
  };
}

/** A line through all panels where an engine crashed. */
function crashes(): Annotation {
  return {
    name: 'Crashes of engines',
    datasource: DATASOURCE,
    enable: true,
    iconColor: 'red',
    // The interval overlaps the steps, which are long where much time is shown: no crash falls between two of them.
    target: {
      refId: 'Crashes',
      expr: chosen(`increase(llamero_engine_crashes_total{@}[${RATE}]) > 0`),
      interval: '60s',
    },
    titleFormat: 'Engine {{engine}} of {{instance}} crashed',
  };
}

function chosen(expression: Query[0]): string {
  return expression.replaceAll('@', CHOSEN);
}
