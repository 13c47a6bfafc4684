/** The memory of an engine after so many requests. */
export interface MemoryPoint {
  /** Requests that the engine has ended, since it was ready. */
  readonly requests: number;
  readonly usedBytes: number;
}

/** Points that are kept: ten minutes of a busy engine, longer of others. */
const MOST_POINTS = 120;
/** What comes of fewer is noise. */
const LEAST_POINTS = 10;
const LEAST_REQUESTS = 20;

/** Adds what was measured last. Where no request has ended meanwhile it replaces the last point: time alone is no load. Pure. */
export function addPoint(points: readonly MemoryPoint[], point: MemoryPoint): readonly MemoryPoint[] {
  const kept = points.at(-1)?.requests === point.requests ? points.slice(0, -1) : points;
  return [...kept.slice(-(MOST_POINTS - 1)), point];
}

/**
 * By how many bytes the memory of an engine grows with each request; null while too little is known. The median of the slopes between
 * each point and the one half a series later: a single step, such as a cache that is made with the first long prompt, hardly moves it.
 * Theil's estimator in its incomplete form (Theil, "A rank-invariant method of linear and polynomial regression analysis", 1950). Pure.
 */
export function growthPerRequest(points: readonly MemoryPoint[]): number | null {
  const first = points[0];
  const last = points.at(-1);
  if (first === undefined || last === undefined || points.length < LEAST_POINTS) return null;
  if (last.requests - first.requests < LEAST_REQUESTS) return null;
  const lag = Math.floor(points.length / 2);
  const slopes = points.slice(lag).map((later, index) => {
    const { requests, usedBytes } = points[index] as MemoryPoint;
    return (later.usedBytes - usedBytes) / (later.requests - requests);
  });
  return median(slopes);
}

function median(values: number[]): number {
  const sorted = values.sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] as number;
  return Number.isInteger(middle) ? (upper + (sorted[middle - 1] as number)) / 2 : upper;
}
