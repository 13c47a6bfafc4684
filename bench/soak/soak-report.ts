import { type LeakVerdict, worstVerdict } from '../../src/testing/leak/judge-leak.ts';
import type { SoakGrowth, SoakSample } from './judge-soak.ts';
import type { SoakResult } from './run-soak.ts';

const KB = 1024;

/** One line of progress. */
export function describeSample({ seconds, requests, heap, external, anonymous, descriptors }: SoakSample): string {
  const memory = `heap ${megabytes(heap)}, external ${megabytes(external)}, anonymous ${megabytes(anonymous)} MB`;
  return `${Math.round(seconds)} s: ${requests} requests, ${memory}, ${descriptors} descriptors`;
}

/** The whole result as text. */
export function describeResult(result: SoakResult, growth: readonly SoakGrowth[]): string {
  const { requests, kills, outcomes, leftObjects, end } = result;
  const verdict = judgeResult(result, growth);
  const left = Object.entries(leftObjects).map(([name, count]) => `${count} ${name}`);
  return [
    `${requests} requests, ${kills} engines killed`,
    ...Object.entries(outcomes)
      .toSorted(([a], [b]) => a.localeCompare(b))
      .map(([outcome, count]) => `  ${outcome}: ${count}`),
    'Growth per 1,000 requests in the second half (99 %):',
    ...growth.map(describeGrowth),
    `Left of requests when there were none: ${left.length === 0 ? 'nothing' : left.join(', ')}`,
    `llamero serve ended with ${end}`,
    `Verdict: ${verdict}${verdict === 'unclear' ? '; a longer run would tell' : ''}`,
  ].join('\n');
}

function describeGrowth({ kind, slope, low, high, limit, verdict, isZero }: SoakGrowth): string {
  const interval = `${kilobytes(low)} … ${kilobytes(high)}, limit ${kilobytes(limit)}`;
  return `  ${kind}: ${kilobytes(slope)} KB (${interval}): ${verdict}${isZero ? ', zero within its error' : ''}`;
}

/** `leak` also where something of a request outlives it, or where `llamero serve` does not end in order. */
export function judgeResult({ leftObjects, end }: SoakResult, growth: readonly SoakGrowth[]): LeakVerdict {
  if (Object.keys(leftObjects).length > 0 || end !== '0') return 'leak';
  return worstVerdict(growth.map(({ verdict }) => verdict));
}

function megabytes(bytes: number | null): string {
  return bytes === null ? '–' : (bytes / KB / KB).toFixed(1);
}

function kilobytes(bytes: number): string {
  return (bytes / KB).toFixed(1);
}
