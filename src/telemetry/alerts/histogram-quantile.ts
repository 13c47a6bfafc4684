/** The bucket of a value: that of the first bound which is not below it, or the one behind the last bound. Pure. */
export function bucketOf(bounds: readonly number[], value: number): number {
  for (let index = 0; index < bounds.length; index += 1) {
    if (value <= (bounds[index] ?? 0)) return index;
  }
  return bounds.length;
}

/**
 * A quantile of values that were counted in buckets, as `histogram_quantile` of Prometheus estimates it: along a straight line
 * within its bucket, and the highest bound where it lies beyond. Null where nothing was counted. Pure.
 * @param counts one more than there are bounds; not cumulative.
 */
export function histogramQuantile(
  quantile: number,
  bounds: readonly number[],
  counts: Readonly<ArrayLike<number>>,
): number | null {
  let total = 0;
  for (let index = 0; index <= bounds.length; index += 1) total += counts[index] ?? 0;
  if (total === 0) return null;
  const rank = quantile * total;
  let below = 0;
  for (const [index, bound] of bounds.entries()) {
    const count = counts[index] ?? 0;
    if (count > 0 && below + count >= rank) {
      const start = bounds[index - 1] ?? 0;
      return start + ((bound - start) * (rank - below)) / count;
    }
    below += count;
  }
  return bounds.at(-1) ?? null;
}
