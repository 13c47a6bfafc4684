import { judgeSlope, type LeakVerdict } from '../../src/testing/leak/judge-leak.ts';
import { estimateSlope, type Point, type Slope, thinOut } from '../../src/testing/leak/robust-slope.ts';

/** One look at the gateway. */
export interface SoakSample {
  readonly seconds: number;
  /** Requests that have ended by then. */
  readonly requests: number;
  readonly heap: number;
  readonly external: number;
  /** null where the system does not tell. */
  readonly anonymous: number | null;
  readonly descriptors: number;
}

/** How one kind of memory grows, in bytes per 1,000 requests. */
export interface SoakGrowth extends Slope {
  readonly kind: 'heap' | 'external' | 'anonymous';
  readonly limit: number;
  readonly verdict: LeakVerdict;
  /** Whether the interval holds zero, or less. */
  readonly isZero: boolean;
}

/**
 * Bytes per 1,000 requests. The requirements allow 5 MB. The heap of a process that keeps nothing still grows by what V8 learns:
 * 50 to 90 KB in the first minutes, as good as nothing after some ten thousand requests; a twentieth of what is allowed is a leak.
 */
const LIMITS = { heap: 250_000, external: 250_000, anonymous: 5_000_000 } as const;
/** Neighbouring samples are alike, which an interval must not take for evidence: they are joined into so many. */
const BLOCKS = 30;
const PER = 1000;

/** Growth over the second half of the samples: in the first, V8 learns and caches fill. */
export function judgeSoak(samples: readonly SoakSample[]): SoakGrowth[] {
  const settled = samples.slice(Math.floor(samples.length / 2));
  return (['heap', 'external', 'anonymous'] as const).flatMap((kind) => {
    const points = settled.flatMap((sample): Point[] => {
      const bytes = sample[kind];
      return bytes === null ? [] : [[sample.requests / PER, bytes]];
    });
    if (points.length === 0) return [];
    const slope = estimateSlope(inBlocks(points, BLOCKS));
    const limit = LIMITS[kind];
    return [{ kind, ...slope, limit, verdict: judgeSlope(slope, limit), isZero: slope.low <= 0 }];
  });
}

/** The median of each run of neighbours, so that there are so many points at most. */
export function inBlocks(points: readonly Point[], most: number): Point[] {
  const size = Math.ceil(points.length / most);
  if (size <= 1) return thinOut(points, most);
  return Array.from({ length: Math.ceil(points.length / size) }, (_, block) => {
    const part = points.slice(block * size, (block + 1) * size);
    return [middle(part.map(([x]) => x)), middle(part.map(([, y]) => y))];
  });
}

function middle(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}
