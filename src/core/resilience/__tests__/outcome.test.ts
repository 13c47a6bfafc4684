import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ERROR_CODES, type ErrorCode, LlameroError } from '../../errors.ts';
import { outcomeOf } from '../outcome.ts';

const FAILURES: readonly ErrorCode[] = ['engine_error', 'engine_bad_response', 'stream_interrupted'];
const NEUTRAL: readonly ErrorCode[] = [
  'invalid_request',
  'invalid_options',
  'invalid_api_key',
  'permission_denied',
  'not_found',
  'method_not_allowed',
  'model_not_found',
  'request_too_large',
  'request_timeout',
  'context_length_exceeded',
  'poisonous_request',
  'stream_position_lost',
  'stream_taken_over',
  'cancelled',
  'rate_limit_exceeded',
  'rate_limits_unavailable',
  'queue_full',
  'queue_timeout',
  'memory_pressure',
  'already_running',
  'circuit_open',
  'engine_starting',
  'engine_unavailable',
  'install_failed',
  'internal_error',
];

describe('what the end of a request says about its engine', () => {
  it('has a row here for every error code', () => {
    const rows = [...FAILURES, ...NEUTRAL, 'deadline_exceeded'];
    assert.deepEqual(rows.toSorted(), Object.keys(ERROR_CODES).toSorted());
  });

  it('is a success without an error', () => assert.equal(outcomeOf(null), 'success'));

  for (const code of FAILURES)
    it(`${code} is a failure`, () => assert.equal(outcomeOf(new LlameroError(code, '')), 'failure'));

  for (const code of NEUTRAL)
    it(`${code} says nothing`, () => assert.equal(outcomeOf(new LlameroError(code, '')), 'neutral'));

  const phases: [phase: unknown, outcome: string][] = [
    ['queue', 'neutral'],
    ['connect', 'failure'],
    ['first token', 'failure'],
    ['idle', 'failure'],
    // A caller may allow one millisecond.
    ['whole request', 'neutral'],
    ['something else', 'neutral'],
    ['toString', 'neutral'],
    [undefined, 'neutral'],
  ];
  for (const [phase, outcome] of phases)
    it(`a passed deadline of phase ${String(phase)} is ${outcome}`, () =>
      assert.equal(outcomeOf(new LlameroError('deadline_exceeded', '', { details: { phase } })), outcome));

  it('an answer of the engine with a 4xx status says nothing, whatever its code', () => {
    assert.equal(outcomeOf(new LlameroError('engine_error', '', { status: 422 })), 'neutral');
    assert.equal(outcomeOf(new LlameroError('engine_error', '', { status: 500 })), 'failure');
  });
});
