import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Symptom } from '../alert-conditions.ts';
import { alertRules } from '../alert-rules.ts';
import { type AlertInstance, RESOLVED_SHOWN_MS, stepAlerts } from '../alert-states.ts';

const MINUTE_MS = 60_000;
const rules = alertRules();
const symptom = (name: Symptom['name'], value = 1, labels: Symptom['labels'] = {}): Symptom => ({
  name,
  labels,
  value,
});

/** What changes at each minute, and the states behind it; each step has the symptoms of that minute. */
function play(steps: readonly (readonly Symptom[])[], stepMs = MINUTE_MS): { changes: string[]; states: string[] } {
  let alerts: readonly AlertInstance[] = [];
  const changes: string[] = [];
  const states: string[] = [];
  for (const [index, symptoms] of steps.entries()) {
    const step = stepAlerts(alerts, symptoms, rules, index * stepMs);
    alerts = step.alerts;
    changes.push(step.changes.map(({ to }) => to).join());
    states.push(alerts.map(({ state }) => state).join());
  }
  return { changes, states };
}

describe('the states of an alert', () => {
  const waits = [symptom('LlameroMemoryShort', 1, { of: 'machine' })];
  const atOnce = [symptom('LlameroEngineHung')];
  const none: Symptom[] = [];

  test('at once, where there is nothing to wait for; and resolved', () => {
    const { changes, states } = play([none, atOnce, atOnce, none, none]);
    assert.deepEqual(changes, ['', 'firing', '', 'resolved', '']);
    assert.deepEqual(states, ['', 'firing', 'firing', 'resolved', 'resolved']);
  });

  test('pending for its time', () => {
    const { changes, states } = play([waits, waits, waits, waits, none]);
    assert.deepEqual(changes, ['pending', '', 'firing', '', 'resolved']);
    assert.deepEqual(states, ['pending', 'pending', 'firing', 'firing', 'resolved']);
  });

  test('a symptom that goes before its time is forgotten, and its time begins anew', () => {
    const { changes, states } = play([waits, waits, none, waits, waits, waits]);
    assert.deepEqual(changes, ['pending', '', 'inactive', 'pending', '', 'firing']);
    assert.deepEqual(states, ['pending', 'pending', '', 'pending', 'pending', 'firing']);
  });

  test('one that comes back begins anew', () => {
    const { changes } = play([waits, waits, waits, none, waits, waits, waits]);
    assert.deepEqual(changes, ['pending', '', 'firing', 'resolved', 'pending', '', 'firing']);
  });

  test('a resolved one is shown for a while', () => {
    const { states } = play([atOnce, none, none, none], RESOLVED_SHOWN_MS / 2);
    assert.deepEqual(states, ['firing', 'resolved', 'resolved', '']);
  });

  test('labels make alerts of their own', () => {
    const other = symptom('LlameroMemoryShort', 1, { of: 'engine' });
    const { changes, states } = play([waits, [...waits, other], [...waits, other], [other], [other]]);
    assert.deepEqual(changes, ['pending', 'pending', 'firing', 'firing,resolved', '']);
    assert.deepEqual(states.at(-1), 'firing,resolved');
  });

  test('value and begin: of now, of then', () => {
    const first = stepAlerts([], [symptom('LlameroEngineCrashLoop', 3)], rules, 1000);
    const second = stepAlerts(first.alerts, [symptom('LlameroEngineCrashLoop', 5)], rules, 2000);
    assert.deepEqual(second.alerts[0], { ...first.alerts[0], value: 5, sinceMs: 1000 });
    const third = stepAlerts(second.alerts, [], rules, 3000);
    assert.deepEqual(third.changes[0]?.alert, { ...second.alerts[0], state: 'resolved', resolvedAtMs: 3000 });
  });
});

describe('rules', () => {
  test('differ from the definitions as asked', () => {
    const asked = alertRules({
      LlameroEngineHung: { enabled: false },
      LlameroEngineCrashLoop: { threshold: 9, for: 10, window: 20 },
    });
    assert.equal(asked.LlameroEngineHung, undefined);
    const { threshold, forMs, windowMs } = asked.LlameroEngineCrashLoop ?? assert.fail();
    assert.deepEqual({ threshold, forMs, windowMs }, { threshold: 9, forMs: 10, windowMs: 20 });
    assert.deepEqual(asked.LlameroEngineDown, rules.LlameroEngineDown);
  });

  test('what an alert does not have is refused', () => {
    assert.throws(() => alertRules({ LlameroEngineDown: { threshold: 1 } }), {
      code: 'invalid_options',
      param: 'alerts.rules.LlameroEngineDown.threshold',
    });
    assert.throws(() => alertRules({ LlameroCircuitOpen: { window: 1 } }), /looks at the present only/);
  });
});
