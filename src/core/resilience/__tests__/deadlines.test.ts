import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DEADLINE_PHASES, deadlineExceeded, type DeadlinePhase, timeLeftMs } from '../deadlines.ts';

describe('a passed deadline', () => {
  for (const phase of Object.keys(DEADLINE_PHASES) as DeadlinePhase[]) {
    it(`names the phase ${phase} and its limit`, () => {
      const error = deadlineExceeded(phase, 1234);
      assert.deepEqual([error.code, error.status, error.details], ['deadline_exceeded', 504, { phase, limitMs: 1234 }]);
      assert.match(error.message, /^[A-Z].* took longer than 1234 ms\.$/);
    });
  }
});

describe('what is left of a limit', () => {
  const table: [limitMs: number | null, now: number, left: number | null][] = [
    [null, 500, null],
    [1000, 100, 1000],
    [1000, 400, 700],
    [1000, 9000, 0],
  ];
  for (const [limitMs, now, left] of table)
    it(`${limitMs} ms, at ${now}: ${left}`, () => assert.equal(timeLeftMs(limitMs, 100, now), left));
});
