import type { AlertName, AlertStateName } from '../../core/events.ts';
import type { Symptom } from './alert-conditions.ts';
import type { AlertRules } from './alert-rules.ts';

/** So long an alert that is over is still shown, in ms. */
export const RESOLVED_SHOWN_MS = 15 * 60_000;

/** One alert that is not inactive. Times are on the clock of whoever steps it, in ms. */
export interface AlertInstance {
  readonly name: AlertName;
  readonly labels: Readonly<Record<string, string>>;
  readonly state: AlertStateName;
  /** Of this moment, or of the last one at which the symptom was there. */
  readonly value: number;
  readonly sinceMs: number;
  /** null while it is not resolved. */
  readonly resolvedAtMs: number | null;
}

/** A change, with the alert as it is behind it; `inactive`: its symptom went before its time. */
export interface InstanceChange {
  readonly to: AlertStateName | 'inactive';
  readonly alert: AlertInstance;
}

/** What one step leads to. */
export interface AlertStep {
  readonly alerts: readonly AlertInstance[];
  readonly changes: readonly InstanceChange[];
}

/**
 * One evaluation, with the states of Prometheus: a symptom makes an alert pending, fires it when it has lasted for its time, and resolves it
 * when it is gone; a resolved one is shown for a while, and begins anew when the symptom comes back. Pure.
 */
export function stepAlerts(
  before: readonly AlertInstance[],
  symptoms: readonly Symptom[],
  rules: AlertRules,
  nowMs: number,
): AlertStep {
  const known = new Map(before.map((alert) => [keyOf(alert), alert]));
  const alerts: AlertInstance[] = [];
  const changes: InstanceChange[] = [];
  for (const symptom of symptoms) {
    const key = keyOf(symptom);
    const last = known.get(key);
    known.delete(key);
    const alert = withSymptom(last, symptom, rules[symptom.name]?.forMs ?? 0, nowMs);
    alerts.push(alert);
    if (alert.state !== last?.state) changes.push({ to: alert.state, alert });
  }
  for (const last of known.values()) {
    const alert = withoutSymptom(last, nowMs);
    if (alert !== null) alerts.push(alert);
    if (last.state === 'firing' && alert !== null) changes.push({ to: 'resolved', alert });
    if (last.state === 'pending') changes.push({ to: 'inactive', alert: last });
  }
  return { alerts, changes };
}

function withSymptom(
  last: AlertInstance | undefined,
  { name, labels, value }: Symptom,
  forMs: number,
  nowMs: number,
): AlertInstance {
  const goesOn = last !== undefined && last.state !== 'resolved';
  const sinceMs = goesOn ? last.sinceMs : nowMs;
  const fires = (goesOn && last.state === 'firing') || nowMs - sinceMs >= forMs;
  return { name, labels, value, state: fires ? 'firing' : 'pending', sinceMs, resolvedAtMs: null };
}

/** Null: nothing is left of it. */
function withoutSymptom(last: AlertInstance, nowMs: number): AlertInstance | null {
  if (last.state === 'firing') return { ...last, state: 'resolved', resolvedAtMs: nowMs };
  if (last.state === 'pending') return null;
  return nowMs - (last.resolvedAtMs ?? nowMs) >= RESOLVED_SHOWN_MS ? null : last;
}

/** Alerts of one name are told apart by their labels, which come in one order always. */
function keyOf({ name, labels }: Pick<AlertInstance, 'name' | 'labels'>): string {
  return JSON.stringify([name, labels]);
}
