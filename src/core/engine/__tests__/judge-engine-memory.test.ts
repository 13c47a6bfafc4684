import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type EngineMemoryVerdict, judgeEngineMemory, NO_ENGINE_MEMORY } from '../judge-engine-memory.ts';

const LIMIT = 100;

type Sample = [generation: number, usedBytes: number];

function verdicts(samples: readonly Sample[]): EngineMemoryVerdict[] {
  let state = NO_ENGINE_MEMORY;
  return samples.map(([generation, usedBytes]) => {
    const judged = judgeEngineMemory(state, { generation, usedBytes }, LIMIT);
    state = judged.state;
    return judged.verdict;
  });
}

describe('the memory of an engine', () => {
  const table: [name: string, samples: Sample[], expected: EngineMemoryVerdict[]][] = [
    [
      'below the limit',
      [
        [1, 50],
        [1, 99],
      ],
      ['nothing', 'nothing'],
    ],
    [
      'grown to the limit: replaced',
      [
        [1, 50],
        [1, 100],
      ],
      ['nothing', 'replace'],
    ],
    [
      'once per generation',
      [
        [1, 50],
        [1, 100],
        [1, 120],
        [1, 80],
        [1, 130],
      ],
      ['nothing', 'replace', 'nothing', 'nothing', 'nothing'],
    ],
    [
      'the next one may be replaced as well',
      [
        [1, 50],
        [1, 100],
        [2, 50],
        [2, 100],
      ],
      ['nothing', 'replace', 'recovered', 'replace'],
    ],
    [
      'above it from the start: the limit is wrong',
      [
        [1, 120],
        [1, 150],
      ],
      ['limit-too-low', 'nothing'],
    ],
    [
      'said once, also when it crashes and comes back',
      [
        [1, 120],
        [2, 120],
        [3, 125],
      ],
      ['limit-too-low', 'nothing', 'nothing'],
    ],
    [
      'a replacement that does not help ends the attempts',
      [
        [1, 50],
        [1, 100],
        [2, 110],
        [2, 120],
        [3, 110],
      ],
      ['nothing', 'replace', 'limit-too-low', 'nothing', 'nothing'],
    ],
    [
      'a fresh one below the limit is well again',
      [
        [1, 120],
        [2, 50],
        [3, 50],
      ],
      ['limit-too-low', 'recovered', 'nothing'],
    ],
  ];
  for (const [name, samples, expected] of table) {
    it(name, () => assert.deepEqual(verdicts(samples), expected));
  }
});
