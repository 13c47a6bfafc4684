import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { mayOverlap, type OverlapFacts } from '../decide-overlap.ts';

const GB = 1024 ** 3;
const FACTS: OverlapFacts = {
  availableBytes: 10 * GB,
  totalBytes: 16 * GB,
  engineBytes: 4 * GB,
  contextGrowth: 1,
  newModelBytes: 0,
};

describe('whether two engines fit beside each other', () => {
  const table: [name: string, facts: Partial<OverlapFacts>, fits: boolean][] = [
    ['with room', {}, true],
    ['as much as the present one has, and the headroom', { availableBytes: 4.8 * GB }, true],
    ['without the headroom', { availableBytes: 4.79 * GB }, false],
    ['headroom is at least 256 MB', { totalBytes: GB, engineBytes: 0.5 * GB, availableBytes: 0.7 * GB }, false],
    ['a context twice as long needs twice as much', { contextGrowth: 2, availableBytes: 8 * GB }, false],
    ['a shorter one is not counted on', { contextGrowth: 0.25, availableBytes: 4 * GB }, false],
    ['another model has pages of its own', { newModelBytes: 8 * GB }, false],
    ['unknown memory: half of the machine is free', { engineBytes: null, availableBytes: 8 * GB }, true],
    ['unknown memory: less is', { engineBytes: null, availableBytes: 7.9 * GB }, false],
    ['unknown memory and another model', { engineBytes: null, newModelBytes: 3 * GB }, false],
  ];
  for (const [name, facts, fits] of table) {
    it(name, () => assert.equal(mayOverlap({ ...FACTS, ...facts }), fits));
  }
});
