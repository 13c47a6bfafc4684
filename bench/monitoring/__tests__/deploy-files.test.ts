import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { METRICS, PROCESS_METRICS } from '../../../src/telemetry/metric-catalogue.ts';
import { checkPanels } from '../check-panels.ts';
import { type Dashboard, makeDashboard } from '../make-dashboard.ts';

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly labels?: { readonly severity?: string };
  readonly annotations?: { readonly summary?: string; readonly description?: string; readonly runbook?: string };
}

const ROOT = path.resolve(import.meta.dirname, '../../..');
/** What Prometheus adds to every series, histograms to their buckets, and the rules to their alerts. */
const GIVEN_LABELS = ['job', 'instance', 'le', 'alertname', 'alertstate'];

const definitions = new Map(
  Object.entries({ ...METRICS, ...PROCESS_METRICS }).flatMap(([name, { type, labels }]) => {
    const names = type === 'histogram' ? ['_bucket', '_sum', '_count'].map((suffix) => name + suffix) : [name];
    return names.map((one): [string, readonly string[]] => [one, [...labels, ...GIVEN_LABELS]]);
  }),
);

const read = (file: string) => readFile(path.join(ROOT, file), 'utf8');
const rules = (
  parse(await read('deploy/prometheus/llamero-rules.yml')) as { groups: { rules: Rule[] }[] }
).groups.flatMap((group) => group.rules);
const recorded = new Set(rules.flatMap(({ record }) => record ?? []));
const alerts = rules.flatMap((rule) => (rule.alert === undefined ? [] : { ...rule, alert: rule.alert }));

/** A dashboard of one panel. */
const dashboardOf = (expr: string, legendFormat: string): Dashboard => ({
  panels: [
    {
      id: 1,
      type: 'timeseries',
      title: 'Panel',
      gridPos: { x: 0, y: 0, w: 8, h: 8 },
      targets: [{ refId: 'A', expr, legendFormat }],
    },
  ],
  annotations: { list: [] },
});

/** What a query names that does not exist. */
function unknownIn(query: string): string[] {
  const withoutTexts = query.replaceAll(/"[^"]*"/g, '""');
  const names = withoutTexts.match(/(?<![\w:])(?:llamero|process|nodejs|gen_ai)_\w+(?![\w:])/g) ?? [];
  const unknown = names.filter((name) => !definitions.has(name));
  for (const name of withoutTexts.match(/\b\w+:\w+:\w+/g) ?? []) if (!recorded.has(name)) unknown.push(name);
  for (const [, name = '', matchers = ''] of withoutTexts.matchAll(/(\w+)\{([^}]*)\}/g)) {
    const labels = definitions.get(name) ?? GIVEN_LABELS;
    for (const [label] of matchers.matchAll(/\w+(?=\s*[=!])/g))
      if (!labels.includes(label)) unknown.push(`${name}.${label}`);
  }
  const all = new Set([...definitions.values()].flat());
  for (const [, list = ''] of withoutTexts.matchAll(/\b(?:by|without|on|ignoring) \(([^)]*)\)/g)) {
    for (const label of list.split(/,\s*/)) if (!all.has(label)) unknown.push(label);
  }
  return unknown;
}

describe('rules of Prometheus', () => {
  it('use metrics and labels that exist', () => {
    for (const { alert, record, expr } of rules) assert.deepEqual(unknownIn(expr), [], alert ?? record);
    assert.deepEqual(
      unknownIn('sum by (nobody) (rate(llamero_requests_total{rout="x"}[5m])) / llamero_request_total'),
      ['llamero_request_total', 'llamero_requests_total.rout', 'nobody'],
    );
  });

  it('say how bad it is, what is the case, and where to read on', () => {
    for (const { alert, labels, annotations } of alerts) {
      assert.match(labels?.severity ?? '', /^(critical|warning)$/, alert);
      assert.ok(annotations?.summary !== undefined && annotations.description !== undefined, alert);
      assert.equal(annotations.runbook, `docs/runbook.md#${alert.toLowerCase()}`);
    }
  });

  it('have one section each in the runbook, and it has none of others', async () => {
    const sections = (await read('docs/runbook.md')).match(/(?<=^## )Llamero\w+$/gm) ?? [];
    assert.deepEqual(sections.toSorted(), alerts.map(({ alert }) => alert).toSorted());
  });

  it('are looked into with queries that exist', async () => {
    const queries = (await read('docs/runbook.md')).match(
      /(?<=`)[^`\n]*\b(?:llamero|process|nodejs)_[a-z][^`\n]*(?=`)/g,
    );
    assert.ok(queries !== null && queries.length > 10);
    for (const query of queries) assert.deepEqual(unknownIn(query), [], query);
  });

  it('are each shown to fire', async () => {
    const tests = await read('deploy/prometheus/llamero-rules.test.yml');
    for (const { alert } of alerts)
      assert.ok(tests.includes(`ALERTS{alertname="${alert}", alertstate="firing"`), alert);
    for (const query of tests.match(/(?<=series: ')[^']+/g) ?? []) assert.deepEqual(unknownIn(query), []);
  });

  it('come with a configuration that loads them, and scrapes with a key', async () => {
    const config = parse(await read('deploy/prometheus/prometheus.yml')) as {
      rule_files: string[];
      scrape_configs: { job_name: string; authorization: { credentials_file: string } }[];
    };
    assert.deepEqual(config.rule_files, ['llamero-rules.yml']);
    assert.equal(config.scrape_configs[0]?.job_name, 'llamero');
    assert.equal(config.scrape_configs[0]?.authorization.credentials_file, 'llamero.key');
  });
});

describe('the dashboard for Grafana', () => {
  it('is what the table of its panels makes; npm run docs:dashboard writes it', async () => {
    assert.deepEqual(JSON.parse(await read('deploy/grafana/llamero-dashboard.json')), makeDashboard());
  });

  it('uses metrics and labels that exist', () => {
    const { panels, annotations } = makeDashboard();
    const queries = [...panels.flatMap(({ targets = [] }) => targets), ...annotations.list.map(({ target }) => target)];
    for (const { expr } of queries) assert.deepEqual(unknownIn(expr), [], expr);
  });

  it('shows as a value what is now, not the last that was, and a dash where there is nothing', () => {
    const values = makeDashboard().panels.filter(({ type }) => type === 'stat');
    assert.ok(values.length > 0);
    for (const { targets = [], title } of values) {
      assert.ok(
        targets.every((target) => 'instant' in target && target.instant === true),
        title,
      );
      for (const { expr } of targets) assert.doesNotMatch(expr, /or vector/, title);
    }
  });

  it('means by all jobs those of llamero, not all that Prometheus knows', () => {
    const { list } = makeDashboard()['templating'] as { list: readonly Record<string, unknown>[] };
    assert.deepEqual(
      list.map(({ name, allValue }) => [name, allValue]),
      ['datasource', 'job', 'instance'].map((name) => [name, undefined]),
    );
  });

  it('marks crashes over the whole step, however long it is', () => {
    const [crashes] = makeDashboard().annotations.list;
    assert.match(crashes?.target.expr ?? '', /\[\$__rate_interval\]/);
  });

  it('has panels that do not overlap, each with a number of its own', () => {
    const { panels } = makeDashboard();
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, index) => `${x + (index % w)},${y + Math.floor(index / w)}`),
    );
    assert.equal(new Set(cells).size, cells.length);
    assert.ok(panels.every(({ gridPos: { x, w } }) => x + w <= 24));
  });
});

describe('the check of the dashboard', () => {
  const series = [{ labels: { engine: '1' }, values: [Number.NaN, 2, 1] }];

  it('takes the latest and the largest value of each series', async () => {
    const asked: string[] = [];
    const prometheus = { range: async (query: string) => (asked.push(query), series) };
    const dashboard = dashboardOf('rate(x{job=~"$job"}[$__rate_interval])', 'engine {{engine}}');
    const results = await checkPanels(dashboard, prometheus, Date.now() / 1000);
    assert.deepEqual(results, [{ title: 'Panel', legend: 'engine 1', last: 1, most: 2, flaw: null }]);
    assert.deepEqual(asked, ['rate(x{job=~".+"}[10s])']);
  });

  const flaws = [
    { name: 'no series', range: async () => [], legend: '', flaw: 'no data' },
    { name: 'no number', range: async () => [{ labels: {}, values: [Number.NaN] }], legend: '', flaw: 'no data' },
    {
      name: 'a legend without its label',
      range: async () => series,
      legend: '{{model}}',
      flaw: 'the legend names a label that is not there',
    },
    {
      name: 'a query that is refused',
      range: () => Promise.reject(new Error('parse error')),
      legend: '',
      flaw: 'parse error',
    },
  ];
  for (const { name, range, legend, flaw } of flaws) {
    it(`finds ${name}`, async () => {
      const results = await checkPanels(dashboardOf('x', legend), { range }, Date.now() / 1000);
      assert.deepEqual(
        results.map((result) => result.flaw),
        [flaw],
      );
    });
  }
});
