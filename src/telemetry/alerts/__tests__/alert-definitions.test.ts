import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { ALERT_NAMES } from '../../../core/events.ts';
import { withAlertTables } from '../alert-docs.ts';
import { ALERTS, FEWEST_ERRORS, NOT_IN_PROCESS, PREDICTION_MS } from '../alert-definitions.ts';

interface Rule {
  alert?: string;
  record?: string;
  expr: string;
  for?: string;
  labels?: { severity?: string };
  annotations?: { summary?: string; runbook?: string };
}

const file = readFileSync(new URL('../../../../deploy/prometheus/llamero-rules.yml', import.meta.url), 'utf8');
const all = (parse(file) as { groups: { rules: Rule[] }[] }).groups.flatMap(({ rules }) => rules);
const recorded = all.filter(({ record }) => record !== undefined);
const alerting = new Map(all.flatMap((rule) => (rule.alert === undefined ? [] : [[rule.alert, rule] as const])));

/** The expression with recorded ones written out. */
function whole(expression: string): string {
  return recorded.reduce((text, { record = '', expr }) => text.replaceAll(record, `(${expr})`), expression);
}

function milliseconds(duration = '0s'): number {
  const [, amount, unit] = /^(\d+)([smh])$/.exec(duration) ?? assert.fail(duration);
  return Number(amount) * { s: 1000, m: 60_000, h: 3_600_000 }[unit as 's' | 'm' | 'h'];
}

test('docs/alerts.md has the tables that the definitions make; npm run docs:alerts writes them', () => {
  const page = readFileSync(new URL('../../../../docs/alerts.md', import.meta.url), 'utf8');
  assert.equal(page, withAlertTables(page));
  for (const name of [...ALERT_NAMES, ...Object.keys(NOT_IN_PROCESS)]) assert.ok(page.includes(`\`${name}\``), name);
});

test('docs/runbook.md has a section for each alert', () => {
  const page = readFileSync(new URL('../../../../docs/runbook.md', import.meta.url), 'utf8');
  for (const name of ALERT_NAMES) assert.match(page, new RegExp(`^#+ ${name}$`, 'm'));
});

describe('the alerts of llamero itself are those of the rules for Prometheus', () => {
  test('in their names; those that a process cannot tell of itself are named with the reason', () => {
    assert.deepEqual([...ALERT_NAMES, ...Object.keys(NOT_IN_PROCESS)].sort(), [...alerting.keys()].sort());
    for (const reason of Object.values(NOT_IN_PROCESS)) assert.match(reason, /\w+\.$/);
  });

  for (const name of ALERT_NAMES) {
    test(`${name}: severity, summary, durations, threshold, runbook`, () => {
      const rule = alerting.get(name) ?? assert.fail(`no rule ${name}`);
      const { severity, summary, forMs, windowMs, threshold } = ALERTS[name];
      const expression = whole(rule.expr);
      assert.equal(severity, rule.labels?.severity);
      assert.equal(summary, rule.annotations?.summary);
      assert.equal(forMs, milliseconds(rule.for));
      const windows = [...expression.matchAll(/\[(\w+)\]/g)].map(([, duration]) => milliseconds(duration));
      assert.deepEqual([...new Set(windows)], windowMs === null ? [] : [windowMs]);
      if (threshold !== null) assert.match(expression, new RegExp(`> ${String(threshold).replace('.', '\\.')}\\b`));
      assert.equal(rule.annotations?.runbook, `docs/runbook.md#${name.toLowerCase()}`);
    });
  }

  test('in what is no threshold of its own', () => {
    assert.match(alerting.get('LlameroErrorRatioHigh')?.expr ?? '', new RegExp(`\\)\\) > ${FEWEST_ERRORS}\\b`));
    const expression = alerting.get('LlameroEngineMemoryGrowing')?.expr ?? '';
    assert.match(expression, new RegExp(`predict_linear\\(.*, ${PREDICTION_MS / 1000}\\)`));
  });
});
