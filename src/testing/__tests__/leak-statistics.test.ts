import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type GrowthLimits,
  grownCounts,
  grownWithUnits,
  judgeMemory,
  type MemorySample,
  worstVerdict,
} from '../leak/judge-leak.ts';
import { histogramOf } from '../leak/object-histogram.ts';
import { estimateSlope, type Point, thinOut } from '../leak/robust-slope.ts';
import { seededNoise } from './leak-noise.ts';

const LIMITS: GrowthLimits = { heap: 100, external: 100, anonymous: 100 };

/** Points at 0, 50, 100, … */
function pointsOf(count: number, y: (x: number, index: number) => number): Point[] {
  return Array.from({ length: count }, (_, index) => [index * 50, y(index * 50, index)]);
}

function samplesOf(heap: (units: number) => number): MemorySample[] {
  return pointsOf(10, heap).map(([units, bytes]) => ({ units, heap: bytes, external: 7, anonymous: null }));
}

describe('the slope of memory', () => {
  const noise = seededNoise(3);
  const cases: [name: string, points: Point[], slope: number, isAround: (slope: number) => boolean][] = [
    ['nothing grows', pointsOf(8, () => 5), 0, (slope) => slope === 0],
    ['a straight line', pointsOf(8, (x) => 10 + 3 * x), 3, (slope) => Math.abs(slope - 3) < 1e-9],
    ['memory that is let go of', pointsOf(8, (x) => 1000 - 2 * x), -2, (slope) => slope === -2],
    ['one outlier', pointsOf(9, (x, index) => 3 * x + (index === 4 ? 1e6 : 0)), 3, (slope) => slope === 3],
    ['an outlier at the end', pointsOf(9, (_, index) => (index === 8 ? 1e6 : 0)), 0, (slope) => slope === 0],
    ['a line in noise', pointsOf(12, (x) => 40 * x + 1000 * noise()), 40, (slope) => Math.abs(slope - 40) < 5],
  ];
  for (const [name, points, truth, isAround] of cases) {
    it(`of ${name}`, () => {
      const { slope, low, high } = estimateSlope(points);
      assert.ok(isAround(slope), `${slope}`);
      assert.ok(low <= truth && truth <= high, `${low} … ${high}`);
    });
  }

  it('is unknown where there is too little to know it from', () => {
    const unknown = { low: -Infinity, high: Infinity };
    for (const count of [0, 1, 2, 3, 4]) {
      const { low, high } = estimateSlope(pointsOf(count, (x) => x));
      assert.deepEqual({ low, high }, unknown, `${count} points`);
    }
    assert.equal(estimateSlope(pointsOf(8, (x) => x)).low, 1);
  });

  it('lies in its interval as often as that promises', () => {
    const random = seededNoise(11);
    const runs = 400;
    let held = 0;
    for (let run = 0; run < runs; run += 1) {
      const { low, high } = estimateSlope(pointsOf(10, (x) => 2 * x + 300 * random()));
      if (low <= 2 && 2 <= high) held += 1;
    }
    assert.ok(held / runs >= 0.98, `${held} of ${runs}`);
  });

  it('is made from few points of many, the first and the last among them', () => {
    const many = Array.from({ length: 1001 }, (_, index) => index);
    assert.deepEqual(thinOut(many, 5), [0, 250, 500, 750, 1000]);
    assert.deepEqual(thinOut([1, 2], 5), [1, 2]);
  });
});

describe('the verdict on memory', () => {
  const noise = seededNoise(5);
  const cases: [name: string, heap: (units: number) => number, verdict: string][] = [
    ['does not grow', () => 1e6, 'clean'],
    ['grows below the limit', (units) => 1e6 + 50 * units, 'clean'],
    ['grows beyond it', (units) => 1e6 + 200 * units, 'leak'],
    ['falls', (units) => 1e6 - 200 * units, 'clean'],
    ['is drowned in noise', () => 1e6 + 1e6 * noise(), 'unclear'],
  ];
  for (const [name, heap, verdict] of cases) {
    it(`that ${name} is ${verdict}`, () => {
      const growth = judgeMemory(samplesOf(heap), LIMITS);
      assert.equal(growth.find(({ kind }) => kind === 'heap')?.verdict, verdict);
      assert.equal(growth.find(({ kind }) => kind === 'external')?.verdict, 'clean');
    });
  }

  it('leaves out what the system does not tell', () => {
    const kinds = judgeMemory(
      samplesOf(() => 1),
      LIMITS,
    ).map(({ kind }) => kind);
    assert.deepEqual(kinds, ['heap', 'external']);
  });

  it('of several is the worst', () => {
    assert.equal(worstVerdict([]), 'clean');
    assert.equal(worstVerdict(['clean', 'unclear', 'clean']), 'unclear');
    assert.equal(worstVerdict(['unclear', 'leak', 'clean']), 'leak');
  });
});

describe('what grew', () => {
  it('is anything there is more of, and nothing there is less of', () => {
    const grown = grownCounts({ Socket: 2, Timeout: 5 }, { Socket: 3, Timeout: 4, Server: 1, Worker: 0 });
    assert.deepEqual(grown, [
      { name: 'Socket', before: 2, after: 3 },
      { name: 'Server', before: 0, after: 1 },
    ]);
  });

  it('of what is not counted exactly is what grew with the units', () => {
    const before = { exact: { Socket: 1 }, other: { Object: 1000, Array: 500 } };
    const after = { exact: { Socket: 1 }, other: { Object: 1049, Array: 600, 'function kept': 100 } };
    const names = (units: number) => grownWithUnits(before, after, units).map(({ name }) => name);
    assert.deepEqual(names(100), ['Array', 'function kept']);
    assert.deepEqual(names(10), ['Array', 'function kept']);
    assert.deepEqual(names(1000), []);
  });
});

describe('the objects of a heap snapshot', () => {
  it('are counted by class, functions by name, and nothing else', () => {
    const meta = {
      node_fields: ['type', 'name', 'id'],
      node_types: [['hidden', 'object', 'closure', 'string']],
    } as const;
    const nodes = [
      [1, 0],
      [1, 0],
      [2, 1],
      [3, 2],
      [0, 2],
      [1, 3],
    ].flatMap(([type, name]) => [type ?? 0, name ?? 0, 99]);
    const histogram = histogramOf({ snapshot: { meta }, nodes, strings: ['Socket', 'onData', 'text', 'Relay'] });
    assert.deepEqual(
      [...histogram],
      [
        ['Socket', 2],
        ['function onData', 1],
        ['Relay', 1],
      ],
    );
  });
});
