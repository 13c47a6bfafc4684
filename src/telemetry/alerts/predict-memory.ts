/** What an engine used, and when. */
export interface MemorySample {
  readonly atMs: number;
  readonly bytes: number;
}

/**
 * Where the straight line through the samples (least squares) will be, as `predict_linear` of Prometheus has it; null where there are not two
 * moments to draw it through. Pure.
 */
export function predictBytes(samples: readonly MemorySample[], atMs: number): number | null {
  const first = samples[0];
  if (first === undefined) return null;
  const meanMs = mean(samples.map((sample) => sample.atMs - first.atMs));
  const meanBytes = mean(samples.map((sample) => sample.bytes));
  let covariance = 0;
  let variance = 0;
  for (const sample of samples) {
    const distanceMs = sample.atMs - first.atMs - meanMs;
    covariance += distanceMs * (sample.bytes - meanBytes);
    variance += distanceMs ** 2;
  }
  if (variance === 0) return null;
  return meanBytes + (covariance / variance) * (atMs - first.atMs - meanMs);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
