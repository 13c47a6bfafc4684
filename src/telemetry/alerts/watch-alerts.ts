import type { AlertReport } from '../../core/events.ts';
import { findSymptoms } from './alert-conditions.ts';
import { ALERTS } from './alert-definitions.ts';
import { alertRules, type AlertOverrides, type AlertRules } from './alert-rules.ts';
import { AlertSignals, type AlertSource } from './alert-signals.ts';
import { type AlertInstance, stepAlerts } from './alert-states.ts';
import { type ProcessProbe, watchProcess } from './process-probe.ts';

/** How often alerts are evaluated unless told otherwise, in ms. */
const DEFAULT_INTERVAL_MS = 15_000;

/** Options of {@link watchAlerts}. */
export interface AlertWatchOptions {
  /** How often alerts are evaluated, in ms. Default 15,000. */
  readonly intervalMs?: number;
  /** What is different from the definitions. */
  readonly rules?: AlertOverrides;
  /** Address of the runbook, which `#` and the name of the alert follow. Default `docs/runbook.md`. */
  readonly runbook?: string;
  /** Label of the engine. Default `1`, as in the metrics. */
  readonly engine?: string;
  /** Looks at this process. Default: the real thing. */
  readonly probe?: ProcessProbe;
  /** A clock that never goes back, in ms. Default: that of the process. */
  readonly now?: () => number;
}

/** Alerts that are being looked for. */
export interface AlertWatch extends Disposable {
  /** All that are pending, firing or resolved within the last 15 minutes; firing ones first, critical ones first among them. */
  report(): AlertReport[];
  /** Evaluates at once, without waiting for the next time. */
  evaluate(): void;
  /** Looks no more; what was found stays readable. Idempotent. */
  stop(): void;
}

/**
 * Evaluates the alerts again and again. Each change is published as `alert` among the events of the source.
 * @throws LlameroError `invalid_options` where the rules ask for what there is not.
 */
export function watchAlerts(source: AlertSource, options: AlertWatchOptions = {}): AlertWatch {
  return new RunningAlertWatch(source, options);
}

class RunningAlertWatch implements AlertWatch {
  readonly #source: AlertSource;
  readonly #rules: AlertRules;
  readonly #runbook: string;
  readonly #signals: AlertSignals;
  readonly #probe: ProcessProbe;
  readonly #now: () => number;
  readonly #timer: NodeJS.Timeout;
  #alerts: readonly AlertInstance[] = [];

  constructor(source: AlertSource, options: AlertWatchOptions) {
    const { intervalMs = DEFAULT_INTERVAL_MS, engine = '1', runbook = 'docs/runbook.md' } = options;
    this.#source = source;
    this.#rules = alertRules(options.rules);
    this.#runbook = runbook;
    this.#now = options.now ?? (() => performance.now());
    this.#signals = new AlertSignals({ source, rules: this.#rules, engine, intervalMs, nowMs: this.#now() });
    this.#probe = options.probe ?? watchProcess();
    this.#timer = setInterval(() => this.#evaluateSafely(), intervalMs).unref();
  }

  report(): AlertReport[] {
    return this.#alerts
      .toSorted((a, b) => urgency(a) - urgency(b) || a.sinceMs - b.sinceMs)
      .map((alert) => this.#describe(alert, alert.state));
  }

  evaluate(): void {
    const nowMs = this.#now();
    const seen = this.#signals.observe(nowMs, this.#probe.read());
    const { alerts, changes } = stepAlerts(this.#alerts, findSymptoms(seen, this.#rules), this.#rules, nowMs);
    this.#alerts = alerts;
    for (const { to, alert } of changes) this.#source.events.publish('alert', this.#describe(alert, to));
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#signals.stop();
    this.#probe[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  /** Looking for trouble must not make any: nothing is above a timer that would catch what it throws. */
  #evaluateSafely(): void {
    try {
      this.evaluate();
    } catch (error) {
      process.emitWarning(`Alerts were not evaluated: ${String(error)}`, 'LlameroWarning');
    }
  }

  #describe<State extends string>(alert: AlertInstance, state: State): Omit<AlertReport, 'state'> & { state: State } {
    const { name, labels, value, sinceMs, resolvedAtMs } = alert;
    const { severity, summary, describe } = ALERTS[name];
    return {
      name,
      severity,
      state,
      labels,
      summary,
      description: describe(value, labels),
      value,
      since: this.#date(sinceMs),
      resolvedAt: resolvedAtMs === null ? null : this.#date(resolvedAtMs),
      runbook: `${this.#runbook}#${name.toLowerCase()}`,
    };
  }

  /** By the clock of the wall, which may have been set meanwhile. */
  #date(ms: number): string {
    return new Date(Date.now() - (this.#now() - ms)).toISOString();
  }
}

const STATES = ['firing', 'pending', 'resolved'];

function urgency({ state, name }: AlertInstance): number {
  return STATES.indexOf(state) * 2 + (ALERTS[name].severity === 'critical' ? 0 : 1);
}
