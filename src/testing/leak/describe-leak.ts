import type { CountGrowth, LeakVerdict, MemoryGrowth } from './judge-leak.ts';

/** What a summary is written from. */
export interface LeakFindings {
  readonly name: string;
  readonly verdict: LeakVerdict;
  readonly units: number;
  readonly whileOpen: readonly CountGrowth[];
  readonly afterClose: readonly CountGrowth[];
  readonly memory: readonly MemoryGrowth[];
}

/** The findings as plain text, the verdict first: one line for each count that grew and for each kind of memory. */
export function describeLeak({ name, verdict, units, whileOpen, afterClose, memory }: LeakFindings): string {
  return [
    `${name}: ${verdict}, ${units} units`,
    ...whileOpen.map((growth) => `  ${describeCount(growth)} over the units, still open`),
    ...afterClose.map((growth) => `  ${describeCount(growth)} after it was closed`),
    ...memory.map((growth) => `  ${describeGrowth(growth)}`),
  ].join('\n');
}

function describeCount({ name, before, after }: CountGrowth): string {
  return `${name}: ${before} → ${after}`;
}

function describeGrowth({ kind, slope, low, high, limit, verdict }: MemoryGrowth): string {
  return `${kind}: ${Math.round(slope)} bytes per unit (99 %: ${Math.round(low)} … ${Math.round(high)}, limit ${limit}): ${verdict}`;
}
