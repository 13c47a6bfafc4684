import type { Counts, LiveCounts } from './live-counts.ts';
import { MEMORY_KINDS, type MemoryKind, type MemoryUsage } from './memory-usage.ts';
import { estimateSlope, type Point, type Slope } from './robust-slope.ts';

/** Memory after so many units of work. */
export interface MemorySample extends MemoryUsage {
  readonly units: number;
}

/** What there is more of than before. */
export interface CountGrowth {
  readonly name: string;
  readonly before: number;
  readonly after: number;
}

/** `unclear`: the interval of the slope holds the limit, so that more would have to be measured. */
export type LeakVerdict = 'clean' | 'leak' | 'unclear';

/** How a kind of memory grows, in bytes per unit of work. */
export interface MemoryGrowth extends Slope {
  readonly kind: MemoryKind;
  /** Growth that counts as a leak. */
  readonly limit: number;
  readonly verdict: LeakVerdict;
}

/** Bytes per unit of work, by kind of memory. */
export type GrowthLimits = Readonly<Record<MemoryKind, number>>;

/** Who leaves one object behind with every other unit of work, leaks; what is loaded late or cached makes fewer. */
const OBJECTS_PER_UNIT = 0.5;
/** So many come and go with the connections that happen to be open. */
const FEW_OBJECTS = 50;

/** What there is more of than before; what there is less of has only been let go late. */
export function grownCounts(before: Counts, after: Counts): CountGrowth[] {
  return growths(before, after).filter((growth) => growth.after > growth.before);
}

/** What grew during so many units: anything of what is counted exactly, and of the rest what grew with the units. */
export function grownWithUnits(before: LiveCounts, after: LiveCounts, units: number): CountGrowth[] {
  const others = growths(before.other, after.other);
  const many = Math.max(FEW_OBJECTS, units * OBJECTS_PER_UNIT);
  return [
    ...grownCounts(before.exact, after.exact),
    ...others.filter((growth) => growth.after - growth.before >= many),
  ];
}

function growths(before: Counts, after: Counts): CountGrowth[] {
  return Object.entries(after).map(([name, count]) => ({ name, before: before[name] ?? 0, after: count }));
}

/** How memory grows over these samples; kinds that the system does not tell are left out. */
export function judgeMemory(samples: readonly MemorySample[], limits: GrowthLimits): MemoryGrowth[] {
  return MEMORY_KINDS.flatMap((kind) => {
    const points = samples.flatMap((sample): Point[] => {
      const bytes = sample[kind];
      return bytes === null ? [] : [[sample.units, bytes]];
    });
    if (points.length === 0) return [];
    const slope = estimateSlope(points);
    return [{ kind, ...slope, limit: limits[kind], verdict: judgeSlope(slope, limits[kind]) }];
  });
}

/** A leak only where the whole interval is above the limit, clean only where it is not. */
export function judgeSlope({ low, high }: Slope, limit: number): LeakVerdict {
  if (low > limit) return 'leak';
  return high <= limit ? 'clean' : 'unclear';
}

/** The worst of them; clean where there are none. */
export function worstVerdict(verdicts: readonly LeakVerdict[]): LeakVerdict {
  if (verdicts.includes('leak')) return 'leak';
  return verdicts.includes('unclear') ? 'unclear' : 'clean';
}
