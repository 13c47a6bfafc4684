import type { AlertName, AlertSeverity } from '../../core/events.ts';

/**
 * Every alert that llamero evaluates itself: the only place where they are defined. Documentation and tests are made from this table; a
 * test compares it with the rules for Prometheus in deploy/prometheus, whose names, severities, durations and thresholds it has.
 */

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

/** One alert. */
export interface AlertDefinition {
  readonly severity: AlertSeverity;
  /** What is wrong, in a few words. */
  readonly summary: string;
  /** How long the symptom must last before the alert fires, in ms; `for` in Prometheus. */
  readonly forMs: number;
  /** The time that is looked back upon, in ms; null: it looks at the present. */
  readonly windowMs: number | null;
  /** What the value must exceed; null: it is there or not. */
  readonly threshold: number | null;
  /** Symptom, as a sentence for the documentation. */
  readonly symptom: string;
  /** What is the case, with the figure of this moment. */
  readonly describe: (value: number, labels: Readonly<Record<string, string>>) => string;
}

/** On a quiet machine a failure or two are no ratio: it takes more than so many. */
export const FEWEST_ERRORS = 4;
/** So far ahead the memory of an engine is predicted, in ms. */
export const PREDICTION_MS = HOUR_MS;

/** The alerts, by name. */
export const ALERTS: Readonly<Record<AlertName, AlertDefinition>> = {
  LlameroErrorRatioHigh: {
    severity: 'critical',
    summary: 'More than 5 % of all requests fail',
    forMs: 5 * MINUTE_MS,
    windowMs: 5 * MINUTE_MS,
    threshold: 0.05,
    symptom: `More than this part of the requests fails through no fault of the callers, and more than ${FEWEST_ERRORS} do.`,
    describe: (value) => `${percent(value)} of the requests failed through no fault of their callers.`,
  },
  LlameroSilentTruncation: {
    severity: 'critical',
    summary: 'A stream was cut without saying so',
    forMs: 0,
    windowMs: HOUR_MS,
    threshold: 0,
    symptom: 'A stream was ended as complete that was not: a defect of llamero.',
    describe: (value) => `${value} streams were ended as complete that were not. That is a defect of llamero.`,
  },
  LlameroFirstTokenSlow: {
    severity: 'warning',
    summary: 'First tokens take more than 10 seconds',
    forMs: 10 * MINUTE_MS,
    windowMs: 5 * MINUTE_MS,
    threshold: 10,
    symptom: 'The 95th percentile of the time to the first token, in seconds, for each model.',
    describe: (value, { model }) =>
      `One in twenty streams of ${model} waits ${seconds(value)} or longer for its first token.`,
  },
  LlameroQueueWaitLong: {
    severity: 'warning',
    summary: 'Requests wait more than 10 seconds for an engine',
    forMs: 10 * MINUTE_MS,
    windowMs: 5 * MINUTE_MS,
    threshold: 10,
    symptom: 'The 95th percentile of the waiting for an engine, in seconds.',
    describe: (value) => `One in twenty requests waits ${seconds(value)} or longer before an engine gets it.`,
  },
  LlameroQueueNearlyFull: {
    severity: 'warning',
    summary: 'The queue is nearly full',
    forMs: 2 * MINUTE_MS,
    windowMs: null,
    threshold: 0.8,
    symptom: 'The part of the places of the queue (`maxQueue`) that is taken; requests beyond are refused.',
    describe: (value) =>
      `${percent(value)} of the places of the queue are taken; without any left requests are refused.`,
  },
  LlameroEngineDown: {
    severity: 'critical',
    summary: 'An engine takes no requests',
    forMs: 5 * MINUTE_MS,
    windowMs: null,
    threshold: null,
    symptom: 'An engine is not ready, and nobody stopped it.',
    describe: (_value, { engine }) => `Engine ${engine} is not ready.`,
  },
  LlameroEngineFailed: {
    severity: 'critical',
    summary: 'llamero has given an engine up',
    forMs: 0,
    windowMs: 2 * MINUTE_MS,
    threshold: null,
    symptom:
      'An engine was failed at some time in the window: it is tried again slowly, and is not failed while it is.',
    describe: (_value, { engine }) => `Engine ${engine} cannot be started, or crashed too often in a row.`,
  },
  LlameroEngineCrashLoop: {
    severity: 'critical',
    summary: 'An engine crashes again and again',
    forMs: 0,
    windowMs: 10 * MINUTE_MS,
    // Three, as Prometheus has it, whose increases are seldom whole numbers.
    threshold: 2.5,
    symptom: 'Ends of an engine that nobody asked for.',
    describe: (value, { engine }) => `Engine ${engine} crashed ${value} times within the window.`,
  },
  LlameroEngineHung: {
    severity: 'warning',
    summary: 'An engine hung and was replaced',
    forMs: 0,
    windowMs: 30 * MINUTE_MS,
    threshold: 0,
    symptom: 'An engine gave no sign of life while it had work.',
    describe: (value, { engine }) => `Engine ${engine} gave no sign of life while it had work, ${value} times.`,
  },
  LlameroCircuitOpen: {
    severity: 'critical',
    summary: 'Requests are held off because an engine fails them',
    forMs: MINUTE_MS,
    windowMs: null,
    threshold: null,
    symptom: 'The circuit breaker of an engine is open or half open.',
    describe: (_value, { engine }) => `The circuit breaker of engine ${engine} is not closed.`,
  },
  LlameroEngineMemoryGrowing: {
    severity: 'warning',
    summary: 'The memory of an engine grows towards its limit',
    forMs: 15 * MINUTE_MS,
    windowMs: 30 * MINUTE_MS,
    threshold: null,
    symptom:
      'The line through the memory of an engine reaches its limit within an hour, and memory grows with requests.',
    describe: (value, { engine }) =>
      `Engine ${engine} will have ${Math.round(value / 1024 ** 2)} MB in an hour, more than it is allowed.`,
  },
  LlameroMemoryShort: {
    severity: 'critical',
    summary: 'Memory has run out',
    forMs: 2 * MINUTE_MS,
    windowMs: null,
    threshold: null,
    symptom: 'The memory of llamero, of the engine or of the machine is short.',
    describe: (_value, { of }) => `The memory of ${of} is short; requests are refused or wait.`,
  },
  LlameroMemoryNearLimit: {
    severity: 'warning',
    summary: 'llamero is near its memory limit',
    forMs: 5 * MINUTE_MS,
    windowMs: null,
    threshold: 0.8,
    symptom: 'The part of its memory limit that llamero itself uses; from 0.9 on it refuses requests.',
    describe: (value) =>
      `The memory of llamero is at ${percent(value)} of its limit; from 90 % on it refuses requests.`,
  },
  LlameroFileDescriptorsLow: {
    severity: 'warning',
    summary: 'llamero is running out of file descriptors',
    forMs: 5 * MINUTE_MS,
    windowMs: null,
    threshold: 0.8,
    symptom: 'The part of the file descriptors that is in use. Linux only.',
    describe: (value) =>
      `${percent(value)} of the file descriptors are in use; without any left there are no connections.`,
  },
  LlameroEventLoopDelayed: {
    severity: 'warning',
    summary: 'llamero itself is slow',
    forMs: 5 * MINUTE_MS,
    windowMs: null,
    threshold: 0.2,
    symptom: 'The 99th percentile of the delay of the event loop since the last evaluation, in seconds.',
    describe: (value) => `The event loop is late by ${seconds(value)}; every token waits for it.`,
  },
  LlameroRateLimitStoreDown: {
    severity: 'warning',
    summary: 'The store of the rate limits cannot be reached',
    forMs: MINUTE_MS,
    windowMs: null,
    threshold: null,
    symptom: 'Valkey or Redis is not reached.',
    describe: () => 'Valkey or Redis is not reached.',
  },
};

/** Alerts of the Prometheus rules that a process cannot evaluate about itself, and why. */
export const NOT_IN_PROCESS: Readonly<Record<string, string>> = {
  LlameroDown: 'What does not run tells nothing. Let something else ask /livez.',
  LlameroCrashLoop: 'A process knows nothing of those before it. The service manager that starts it does.',
};

function percent(ratio: number): string {
  return `${Number((ratio * 100).toFixed(1))} %`;
}

function seconds(value: number): string {
  return `${Number(value.toPrecision(3))} s`;
}
