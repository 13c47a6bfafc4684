import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hasRoomForSlot, MOST_SAVED_BYTES, type SlotSavingFacts, slotsToSave } from '../plan-slot-saving.ts';

const GB = 1024 ** 3;
const FACTS: SlotSavingFacts = {
  tokens: 1000,
  contextLength: 4096,
  bytesPerToken: 100_000,
  savedBytes: 0,
  freeBytes: 5 * GB,
  totalBytes: 10 * GB,
};

describe('which slots are saved', () => {
  it('idle ones that hold something, the smallest first, those that do not tell last', () => {
    const slots = [
      { id: 0, busy: false, tokens: null },
      { id: 1, busy: true, tokens: 5 },
      { id: 2, busy: false, tokens: 900 },
      { id: 3, busy: false, tokens: 0 },
      { id: 4, busy: false, tokens: 20 },
    ];
    assert.deepEqual(
      slotsToSave(slots).map(({ id }) => id),
      [4, 2, 0],
    );
  });

  const table: [name: string, facts: Partial<SlotSavingFacts>, room: boolean][] = [
    ['with room', {}, true],
    ['the first is tried while the disk is not full', { bytesPerToken: null, tokens: null }, true],
    ['not on a full disk', { bytesPerToken: null, freeBytes: 0.9 * GB }, false],
    ['a tenth of the disk is left alone', { freeBytes: 1.05 * GB }, false],
    ['a slot that does not tell may be full', { tokens: null, freeBytes: 1.3 * GB }, false],
    ['and the same one, told', { tokens: 1000, freeBytes: 1.3 * GB }, true],
    ['all together are bounded', { savedBytes: MOST_SAVED_BYTES - 99_000_000, freeBytes: 90 * GB }, false],
    ['a file system that does not tell is tried', { freeBytes: null, totalBytes: null }, true],
  ];
  for (const [name, facts, room] of table) {
    it(name, () => assert.equal(hasRoomForSlot({ ...FACTS, ...facts }), room));
  }
});
