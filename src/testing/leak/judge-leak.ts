import type { Counts } from './live-counts.ts';
import { MEMORY_KINDS, type MemoryKind, type MemoryUsage } from './memory-usage.ts';
import { estimateSlope, type Slope } from './robust-slope.ts';

/** Memory after so many units of work. */
export interface MemorySample extends MemoryUsage {
  readonly units: number;
}

/** What more lives than did. */
export interface CountGrowth {
  readonly name: string;
  readonly before: number;
  readonly after: number;
}

/** `unclear`: the interval of the slope holds the limit, so that more has to be measured. */
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

/** What there is more of than before; what there is less of has only been let go late. */
export function grownCounts(before: Counts, after: Counts): CountGrowth[] {
  return Object.entries(after)
    .map(([name, count]) => ({ name, before: before[name] ?? 0, after: count }))
    .filter((growth) => growth.after > growth.before);
}

/** How memory grows over these samples. A leak only where the whole interval is above the limit, clean only where it is below it. */
export function judgeMemory(samples: readonly MemorySample[], limits: GrowthLimits): MemoryGrowth[] {
  return MEMORY_KINDS.flatMap((kind) => {
    const points = samples.map((sample) => [sample.units, sample[kind]] as const);
    if (points.some(([, bytes]) => bytes === null)) return [];
    const slope = estimateSlope(points as readonly (readonly [number, number])[]);
    return [{ kind, ...slope, limit: limits[kind], verdict: judgeSlope(slope, limits[kind]) }];
  });
}

function judgeSlope({ low, high }: Slope, limit: number): LeakVerdict {
  if (low > limit) return 'leak';
  return high <= limit ? 'clean' : 'unclear';
}

/** The worst of them. */
export function worstVerdict(verdicts: readonly LeakVerdict[]): LeakVerdict {
  if (verdicts.includes('leak')) return 'leak';
  return verdicts.includes('unclear') ? 'unclear' : 'clean';
}
