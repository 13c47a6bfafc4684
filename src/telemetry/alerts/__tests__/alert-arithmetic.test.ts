import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bucketOf, histogramQuantile } from '../histogram-quantile.ts';
import { predictBytes } from '../predict-memory.ts';
import { SlidingCounts } from '../sliding-counts.ts';

describe('counts of a window', () => {
  test('hold what happened within it, and let go of it slice by slice', () => {
    const counts = newCounts();
    const seen: number[][] = [];
    for (let step = 1; step <= 9; step += 1) {
      if (step <= 3) counts.add(0, step);
      if (step === 2) counts.add(1);
      seen.push([...counts.totals()]);
      counts.advance(1_000_000 + step * 15_000);
    }
    assert.deepEqual(
      seen.map((totals) => totals.join()),
      ['1,0', '3,1', '6,1', '6,1', '5,1', '3,0', '0,0', '0,0', '0,0'],
    );
  });

  test('a clock that stands still or jumps', () => {
    const counts = newCounts();
    counts.add(0);
    counts.advance(1_000_000);
    counts.advance(999_000);
    assert.equal(counts.total(0), 1);
    counts.advance(1_014_999);
    assert.equal(counts.total(0), 1);
    counts.advance(9_000_000);
    assert.equal(counts.total(0), 0);
    counts.add(1, 4);
    counts.advance(9_015_000);
    assert.equal(counts.total(1), 4);
  });

  test('cost the same however often they are looked at', () => {
    const counts = newCounts(3_600_000, 1);
    counts.add(0);
    counts.advance(1_000_000 + 3_599_999);
    assert.equal(counts.total(0), 1, 'a long window of short steps has few slices');
    counts.advance(1_000_000 + 3_600_000);
    assert.equal(counts.total(0), 0);
    const short = newCounts(10, 60_000);
    short.add(0);
    assert.equal(short.total(0), 1, 'a window shorter than a step is one step');
  });
});

describe('quantiles of buckets', () => {
  const bounds = [1, 5, 10];
  const table: [value: number, bucket: number][] = [
    [0, 0],
    [1, 0],
    [1.01, 1],
    [10, 2],
    [11, 3],
  ];
  for (const [value, bucket] of table) {
    test(`${value} is counted in bucket ${bucket}`, () => assert.equal(bucketOf(bounds, value), bucket));
  }

  // The same as `histogram_quantile(0.95, …)` of these cumulative buckets.
  const quantiles: [counts: number[], expected: number | null][] = [
    [[0, 0, 0, 0], null],
    [[100, 0, 0, 0], 0.95],
    [[90, 10, 0, 0], 3],
    [[95, 0, 5, 0], 1],
    [[94, 0, 0, 6], 10],
    [[0, 0, 0, 1], 10],
  ];
  for (const [counts, expected] of quantiles) {
    test(`${counts.join()}: ${expected}`, () => {
      const found = histogramQuantile(0.95, bounds, counts);
      if (expected === null) assert.equal(found, null);
      else assert.ok(found !== null && Math.abs(found - expected) < 1e-9, `came ${found}`);
    });
  }
});

describe('the line through the memory', () => {
  const table = [
    { points: line([]), expected: null },
    { points: line([[5, 100]]), expected: null },
    {
      points: line([
        [0, 100],
        [10, 110],
      ]),
      expected: 200,
    },
    {
      points: line([
        [0, 100],
        [10, 100],
        [20, 100],
      ]),
      expected: 100,
    },
    {
      points: line([
        [0, 0],
        [10, 20],
        [20, 20],
        [30, 40],
      ]),
      expected: 122,
    },
  ];
  for (const { points, expected } of table) {
    test(`${points.map(({ bytes }) => bytes).join()} at 100 ms: ${expected}`, () => {
      assert.equal(predictBytes(points, 100), expected);
    });
  }
});

function newCounts(windowMs = 60_000, sliceMs = 15_000): SlidingCounts {
  return new SlidingCounts({ columns: 2, windowMs, sliceMs, nowMs: 1_000_000 });
}

function line(points: readonly [ms: number, bytes: number][]) {
  return points.map(([atMs, bytes]) => ({ atMs, bytes }));
}
