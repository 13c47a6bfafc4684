import { median } from '../statistics.ts';
import type { FaultRecord, Ledger } from './ledger.ts';

/** The result of a run, for people. */
export function renderReport(ledger: Ledger): string {
  const outcomes = [...ledger.outcomes].sort(([, one], [, other]) => other - one);
  const total = outcomes.reduce((sum, [, count]) => sum + count, 0);
  const signals = [...new Set(ledger.faults.map(({ signal }) => signal))];
  const of = (select: (fault: FaultRecord) => number | null, signal?: string) =>
    ledger.faults
      .filter((fault) => signal === undefined || fault.signal === signal)
      .map(select)
      .filter((ms) => ms !== null);
  return [
    `${total} requests:`,
    ...outcomes.map(([outcome, count]) => `  ${String(count).padStart(6)}  ${outcome}`),
    `${ledger.faults.length} faults:`,
    ...signals.map((signal) => {
      const times = of(({ recoveredMs }) => recoveredMs, signal);
      return `  ${signal}: ${times.length}, ${range(times)} until the next token; noticed after ${range(of(({ noticedMs }) => noticedMs, signal))}`;
    }),
    `  all: ${range(of(({ recoveredMs }) => recoveredMs))} until the next token`,
    `Light client: ${ledger.lightFirstTokenMs.length} answers, first token after ${range(ledger.lightFirstTokenMs)}`,
    `Memory of llamero: ${memory(ledger.residentMb)}`,
    `The engine's own queue: at most ${ledger.deferred.most} in ${ledger.deferred.samples} samples`,
    ...Object.entries(ledger.notes).map(([name, value]) => `${name}: ${value}`),
    `${ledger.violations.length} violations`,
    ...ledger.violations.map(({ atMs, what, request }) => `  ${(atMs / 1000).toFixed(1)} s ${request ?? ''} ${what}`),
  ].join('\n');
}

/** The result of a run, for programs. */
export function reportData({ outcomes, ...ledger }: Ledger): Record<string, unknown> {
  return { outcomes: Object.fromEntries(outcomes), ...ledger };
}

/** One line for a person who waits. */
export function renderProgress({ outcomes, faults, violations, residentMb }: Ledger): string {
  const requests = [...outcomes.values()].reduce((sum, count) => sum + count, 0);
  const memoryMb = residentMb.at(-1)?.toFixed(0) ?? '?';
  return `${requests} requests, ${faults.length} faults, ${memoryMb} MB, ${violations.length} violations`;
}

function range(values: readonly number[]): string {
  if (values.length === 0) return '–';
  const [least, middle, most] = [Math.min(...values), median(values), Math.max(...values)].map(Math.round);
  return `${least} / ${middle} / ${most} ms (min / median / max)`;
}

function memory(samples: readonly number[]): string {
  if (samples.length === 0) return 'not told here';
  const [first, last] = [samples[0] ?? 0, samples.at(-1) ?? 0];
  return `${first.toFixed(0)} MB at first, ${last.toFixed(0)} MB at last, ${Math.max(...samples).toFixed(0)} MB at most`;
}
