import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { seededRandom } from '../../statistics.ts';
import { inBlocks, judgeSoak, type SoakSample } from '../judge-soak.ts';
import { runSoak } from '../run-soak.ts';
import { chartSeries, renderSvgChart, renderTextChart } from '../soak-chart.ts';
import { judgeResult } from '../soak-report.ts';

const MB = 1024 * 1024;

/** Samples each 5 s at 100 requests a second. */
function samplesOf(count: number, heap: (requests: number) => number): SoakSample[] {
  return Array.from({ length: count }, (_, index) => {
    const requests = index * 500;
    const rest = { external: 10 * MB, anonymous: null, descriptors: 40 };
    return { seconds: index * 5, requests, heap: heap(requests), ...rest };
  });
}

describe('a soak', () => {
  const random = seededRandom(7);
  const noise = () => 200_000 * (random() - 0.5);
  const cases: [name: string, heap: (requests: number) => number, verdict: string][] = [
    ['is flat', () => 30 * MB + noise(), 'clean'],
    ['warms up first', (requests) => 30 * MB + 5 * MB * Math.min(1, requests / 15_000) + noise(), 'clean'],
    ['leaks 1 KB a request', (requests) => 30 * MB + 1024 * requests + noise(), 'leak'],
  ];
  for (const [name, heap, verdict] of cases) {
    it(`whose heap ${name} is ${verdict}`, () => {
      const growth = judgeSoak(samplesOf(120, heap));
      assert.equal(growth.find(({ kind }) => kind === 'heap')?.verdict, verdict);
      assert.equal(
        growth.some(({ kind }) => kind === 'anonymous'),
        false,
      );
    });
  }

  it('is unclear where it was too short', () => {
    const growth = judgeSoak(samplesOf(6, () => 30 * MB));
    assert.equal(growth[0]?.verdict, 'unclear');
  });

  it('joins neighbours, so that a wave does not count as evidence', () => {
    const points = Array.from({ length: 100 }, (_, index) => [index, index % 10] as const);
    const joined = inBlocks(points, 10);
    assert.equal(joined.length, 10);
    assert.deepEqual(new Set(joined.map(([, y]) => y)), new Set([5]));
    assert.deepEqual(inBlocks(points.slice(0, 3), 10), points.slice(0, 3));
  });

  it('is drawn for terminal and page', () => {
    const samples = samplesOf(40, (requests) => 30 * MB + requests);
    const series = chartSeries(samples);
    assert.deepEqual(
      series.map(({ name }) => name),
      ['heap', 'external', 'descriptors', 'requests'],
    );
    assert.match(renderTextChart(series), /^heap {8}[▁-█]{40} {2}30\.0 … 30\.0 MB$/m);
    const svg = renderSvgChart(
      series,
      samples.map(({ seconds }) => seconds),
      'a < b',
    );
    assert.match(svg, /^<svg [^]*a &lt; b[^]*<\/svg>\n$/);
    assert.equal(svg.match(/<polyline /g)?.length, 4);
  });

  it(
    'runs: seconds of it leave nothing of a request behind, amid a death of the engine',
    { timeout: 120_000 },
    async () => {
      const result = await runSoak({
        durationMs: 6000,
        clients: 4,
        sampleEveryMs: 1500,
        killEveryMs: 3000,
        seed: 1,
        command: null,
        progress: () => undefined,
      });
      assert.deepEqual([result.leftObjects, result.end], [{}, '0']);
      // How much is done in these seconds is up to the machine.
      assert.deepEqual([result.samples.length >= 2, result.requests > 0, result.kills >= 1], [true, true, true]);
      assert.equal(judgeResult(result, []), 'clean');
      assert.equal(judgeResult({ ...result, leftObjects: { Relay: 1 } }, []), 'leak');
      const broken = Object.keys(result.outcomes).filter((outcome) => outcome.includes('broken'));
      assert.deepEqual(broken, []);
    },
  );
});
