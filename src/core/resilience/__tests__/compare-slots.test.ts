import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compareSlots, type SlotProgress } from '../compare-slots.ts';

type Row = [busy: boolean, task: number | null, tokens: number];
const slots = (...rows: Row[]): SlotProgress[] => rows.map(([busy, task, tokens]) => ({ busy, task, tokens }));

describe('two looks at the slots', () => {
  const table: [name: string, before: Row[], after: Row[], advanced: boolean, advancing: number][] = [
    ['nothing happened', [[true, 1, 5]], [[true, 1, 5]], false, 0],
    ['idle before and after', [[false, null, 0]], [[false, null, 0]], false, 0],
    ['a token', [[true, 1, 5]], [[true, 1, 6]], true, 1],
    [
      'one of two',
      [
        [true, 1, 5],
        [true, 2, 9],
      ],
      [
        [true, 1, 5],
        [true, 2, 10],
      ],
      true,
      1,
    ],
    [
      'both',
      [
        [true, 1, 5],
        [true, 2, 9],
      ],
      [
        [true, 1, 6],
        [true, 2, 10],
      ],
      true,
      2,
    ],
    ['another task came', [[true, 1, 5]], [[true, 2, 1]], true, 0],
    ['a task came', [[false, 1, 5]], [[true, 2, 0]], true, 0],
    ['a task ended', [[true, 1, 5]], [[false, 1, 5]], true, 0],
    ['another number of slots', [[true, 1, 5]], [], true, 0],
  ];
  for (const [name, before, after, advanced, advancing] of table) {
    it(name, () => assert.deepEqual(compareSlots(slots(...before), slots(...after)), { advanced, advancing }));
  }
});
