import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  decideMemory,
  ENOUGH_MEMORY,
  type MemoryPressure,
  type MemoryState,
  parsePressure,
  worse,
} from '../decide-memory.ts';

const LIMIT = 1000;

describe('what is done about memory', () => {
  it('refuses from 90 % of the limit on, and takes requests again below 85 %', () => {
    const table: [usedBytes: number, refusing: boolean][] = [
      [100, false],
      [899, false],
      [900, true],
      [899, true],
      [850, true],
      [849, false],
      [899, false],
      [2000, true],
    ];
    let state = ENOUGH_MEMORY;
    for (const [usedBytes, refusing] of table) {
      state = decideMemory(state, { usedBytes, pressure: null }, LIMIT);
      assert.equal(state.refusing, refusing, String(usedBytes));
    }
  });

  it('holds from 40 % some or 10 % full on, and lets go below half of both', () => {
    const table: [some: number, full: number, held: boolean][] = [
      [0, 0, false],
      [39.99, 9.99, false],
      [40, 0, true],
      [39, 0, true],
      [20, 0, true],
      [19.99, 5, true],
      [19.99, 4.99, false],
      [30, 9, false],
      [10, 10, true],
    ];
    let state = ENOUGH_MEMORY;
    for (const [some, full, held] of table) {
      state = decideMemory(state, { usedBytes: 0, pressure: { some, full } }, LIMIT);
      assert.equal(state.held, held, `${some} ${full}`);
    }
  });

  it('does not hold where nothing is known, and lets go when it is known no more', () => {
    const held: MemoryState = { refusing: false, held: true };
    assert.deepEqual(decideMemory(held, { usedBytes: 0, pressure: null }, LIMIT), ENOUGH_MEMORY);
  });

  it('keeps the state where nothing changes', () => {
    assert.equal(decideMemory(ENOUGH_MEMORY, { usedBytes: 1, pressure: { some: 1, full: 0 } }, LIMIT), ENOUGH_MEMORY);
  });
});

describe('memory pressure', () => {
  const table: [name: string, text: string, expected: MemoryPressure | null][] = [
    [
      'of the machine',
      'some avg10=41.50 avg60=12.00 avg300=1.00 total=1234\nfull avg10=3.25 avg60=0.00 avg300=0.00 total=99\n',
      { some: 41.5, full: 3.25 },
    ],
    ['without the second line', 'some avg10=2.00 avg60=0.00 avg300=0.00 total=1\n', { some: 2, full: 0 }],
    ['nothing', '', null],
    ['something else', 'avg10=2.00', null],
  ];
  for (const [name, text, expected] of table) it(name, () => assert.deepEqual(parsePressure(text), expected));

  it('is the worse of two', () => {
    assert.deepEqual(worse({ some: 1, full: 9 }, { some: 2, full: 3 }), { some: 2, full: 9 });
    assert.deepEqual(worse(null, { some: 2, full: 3 }), { some: 2, full: 3 });
    assert.equal(worse(null, null), null);
  });
});
