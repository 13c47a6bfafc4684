import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  DEADLINE_PHASES,
  deadlineExceeded,
  type DeadlinePhase,
  deadlinesOf,
  judgeSilence,
  timeLeftMs,
} from '../deadlines.ts';

const TIMEOUTS = { queue: 30_000, connect: 5000, firstToken: 60_000, idle: 20_000, total: null };

describe('the limits of a request', () => {
  it('of a stream are those of its phases', () =>
    assert.deepEqual(deadlinesOf(TIMEOUTS, { stream: true, timeoutMs: null }), {
      queue: 30_000,
      connect: 5000,
      'first token': 60_000,
      idle: 20_000,
      'whole request': null,
    }));

  it('of a whole answer do not ask for a sign of life', () =>
    assert.deepEqual(deadlinesOf(TIMEOUTS, { stream: false, timeoutMs: 7000 }), {
      queue: 30_000,
      connect: 5000,
      'first token': null,
      idle: null,
      'whole request': 7000,
    }));

  const totals: [stream: boolean, timeoutMs: number | null, total: number | null, whole: number | null][] = [
    [true, null, null, null],
    [true, 5, null, 5],
    [true, null, 9, 9],
    [true, 5, 9, 5],
    [true, 9, 5, 5],
    [false, 9, 5, 9],
    [false, null, 5, null],
  ];
  for (const [stream, timeoutMs, total, whole] of totals)
    it(`of a whole ${stream ? 'stream' : 'answer'}: of ${timeoutMs} and ${total}, ${whole}`, () =>
      assert.equal(deadlinesOf({ ...TIMEOUTS, total }, { stream, timeoutMs })['whole request'], whole));
});

describe('a passed deadline', () => {
  for (const phase of Object.keys(DEADLINE_PHASES) as DeadlinePhase[]) {
    it(`names the phase ${phase} and its limit`, () => {
      const error = deadlineExceeded(phase, 1234);
      assert.deepEqual([error.code, error.status, error.details], ['deadline_exceeded', 504, { phase, limitMs: 1234 }]);
      assert.match(error.message, /^[A-Z].* took longer than 1234 ms\.$/);
    });
  }
});

describe('the silence of an engine', () => {
  const deadlines = deadlinesOf(TIMEOUTS, { stream: true, timeoutMs: null });
  const table: [name: string, tokenSeen: boolean, lastLifeAt: number, now: number, verdict: object][] = [
    ['just sent', false, 100, 100, { kind: 'wait', waitMs: 60_000 }],
    ['reading a long prompt, with progress', false, 170_000, 180_000, { kind: 'wait', waitMs: 50_000 }],
    ['no first token in time', false, 100, 60_100, { kind: 'exceeded', phase: 'first token', limitMs: 60_000 }],
    ['between tokens', true, 1000, 20_999, { kind: 'wait', waitMs: 1 }],
    ['no next token in time', true, 1000, 21_000, { kind: 'exceeded', phase: 'idle', limitMs: 20_000 }],
    ['a timer a fraction early', true, 1000, 20_999.4, { kind: 'exceeded', phase: 'idle', limitMs: 20_000 }],
    ['a wait of a broken millisecond', true, 1000, 20_900.5, { kind: 'wait', waitMs: 100 }],
  ];
  for (const [name, tokenSeen, lastLifeAt, now, verdict] of table)
    it(name, () => assert.deepEqual(judgeSilence(deadlines, { tokenSeen, lastLifeAt }, now), verdict));

  it('is not limited while a whole answer is made', () => {
    const whole = deadlinesOf(TIMEOUTS, { stream: false, timeoutMs: 1 });
    assert.deepEqual(judgeSilence(whole, { tokenSeen: false, lastLifeAt: 0 }, 1e9), { kind: 'unlimited' });
  });
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
