import { LlameroError } from '../../core/errors.ts';
import { ALERT_NAMES, type AlertName } from '../../core/events.ts';
import { type AlertDefinition, ALERTS } from './alert-definitions.ts';

/** What may be different from the definition of an alert; as in the configuration, durations in ms. */
export interface AlertOverride {
  readonly enabled?: boolean | undefined;
  readonly threshold?: number | undefined;
  readonly for?: number | undefined;
  readonly window?: number | undefined;
}

/** Overrides by name. */
export type AlertOverrides = Readonly<Partial<Record<AlertName, AlertOverride>>>;

/** An alert as it is looked for. */
export interface AlertRule extends AlertDefinition {
  readonly name: AlertName;
}

/** The alerts that are looked for. */
export type AlertRules = Readonly<Partial<Record<AlertName, AlertRule>>>;

/**
 * The definitions with what is different from them; those that are off are left out. Pure.
 * @throws LlameroError `invalid_options` where an alert has no threshold or does not look back, but is given one or a window.
 */
export function alertRules(overrides: AlertOverrides = {}): AlertRules {
  return Object.fromEntries(
    ALERT_NAMES.filter((name) => overrides[name]?.enabled !== false).map((name) => [
      name,
      withOverride(name, ALERTS[name], overrides[name] ?? {}),
    ]),
  );
}

function withOverride(name: AlertName, definition: AlertDefinition, override: AlertOverride): AlertRule {
  if (override.threshold !== undefined && definition.threshold === null) throw hasNone(name, 'threshold');
  if (override.window !== undefined && definition.windowMs === null) throw hasNone(name, 'window');
  return {
    ...definition,
    name,
    forMs: override.for ?? definition.forMs,
    windowMs: override.window ?? definition.windowMs,
    threshold: override.threshold ?? definition.threshold,
  };
}

function hasNone(name: AlertName, key: 'threshold' | 'window'): LlameroError {
  const param = `alerts.rules.${name}.${key}`;
  const why = key === 'threshold' ? 'has no threshold: its symptom is there or not' : 'looks at the present only';
  const problem = `${param}: this alert ${why}`;
  return new LlameroError('invalid_options', problem, { param, details: { problems: [problem] } });
}
