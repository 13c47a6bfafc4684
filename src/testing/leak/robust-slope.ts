/** A slope and the interval that holds the true one with the stated confidence. Units of y per unit of x. */
export interface Slope {
  readonly slope: number;
  readonly low: number;
  readonly high: number;
}

/** One measurement: after `x` units of work, `y` was seen. */
export type Point = readonly [x: number, y: number];

/** Two-sided 99 % of the normal distribution. */
const Z_99 = 2.5758;

/**
 * Theil–Sen slope, the median of the slopes between all pairs of points, with Sen's confidence interval from Kendall's tau (P. K. Sen,
 * "Estimates of the regression coefficient based on Kendall's tau", 1968). Unlike least squares it is not moved by
 * a single outlier, such as code that V8 compiles in the middle of a measurement, and assumes nothing about the noise.
 *
 * The normal approximation of Kendall's tau is good from about eight points on; with fewer, or without two different x, the
 * interval is unbounded: nothing is known.
 *
 * @param z quantile of the normal distribution; default 99 % two-sided
 */
export function estimateSlope(points: readonly Point[], z = Z_99): Slope {
  const slopes = pairSlopes(points).toSorted((a, b) => a - b);
  const pairs = slopes.length;
  const spread = z * Math.sqrt((points.length * (points.length - 1) * (2 * points.length + 5)) / 18);
  const lowRank = Math.floor((pairs - spread) / 2);
  const highRank = Math.ceil((pairs + spread) / 2);
  return {
    slope: medianOfSorted(slopes),
    low: slopes[lowRank] ?? Number.NEGATIVE_INFINITY,
    high: slopes[highRank - 1] !== undefined && lowRank >= 0 ? (slopes[highRank - 1] as number) : Infinity,
  };
}

/** At most `most` of the points, evenly chosen, the last one included: the number of pairs grows with the square. */
export function thinOut<Item>(points: readonly Item[], most: number): Item[] {
  if (points.length <= most) return [...points];
  const step = (points.length - 1) / (most - 1);
  return Array.from({ length: most }, (_, index) => points[Math.round(index * step)] as Item);
}

function pairSlopes(points: readonly Point[]): number[] {
  const slopes: number[] = [];
  for (const [index, [x1, y1]] of points.entries()) {
    for (const [x2, y2] of points.slice(index + 1)) if (x1 !== x2) slopes.push((y2 - y1) / (x2 - x1));
  }
  return slopes;
}

function medianOfSorted(values: readonly number[]): number {
  const middle = values.length >> 1;
  const upper = values[middle] ?? Number.NaN;
  return values.length % 2 === 1 ? upper : ((values[middle - 1] ?? Number.NaN) + upper) / 2;
}
