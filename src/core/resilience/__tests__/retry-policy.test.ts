import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseConfig } from '../../config.ts';
import { LlameroError } from '../../errors.ts';
import { decideRetry, type FailedSend, LONGEST_RETRY_DELAY_MS, retryDelayMs } from '../retry-policy.ts';

const CONFIG = parseConfig({}).retry;
/** Nobody listened: the plainest failure that is retried. */
const REFUSED: FailedSend = {
  error: new LlameroError('engine_error', 'Nobody was there.'),
  systemCode: 'ECONNREFUSED',
  engineStatus: null,
  retryAfterMs: null,
  engineLost: false,
  losses: 0,
  attempt: 1,
  answerStarted: false,
  cancelled: false,
  deadlineLeftMs: null,
  engineIsAway: false,
  budgetHasRoom: true,
};
const LOST = { ...REFUSED, systemCode: 'ECONNRESET', engineLost: true, losses: 1 };
const answered = (status: number, code: LlameroError['code']): FailedSend => ({
  ...REFUSED,
  error: new LlameroError(code, ''),
  systemCode: null,
  engineStatus: status,
});

describe('whether a request is sent again', () => {
  const table: [name: string, failed: FailedSend, config: Partial<typeof CONFIG>, decision: string][] = [
    ['a refused connection', REFUSED, {}, 'ECONNREFUSED after 1000'],
    ['a connection that timed out', { ...REFUSED, systemCode: 'ETIMEDOUT' }, {}, 'ETIMEDOUT after 1000'],
    ['the same, found by undici', { ...REFUSED, systemCode: 'UND_ERR_CONNECT_TIMEOUT' }, {}, 'ETIMEDOUT after 1000'],
    ['a UNIX socket without a file', { ...REFUSED, systemCode: 'ENOENT' }, {}, 'ECONNREFUSED after 1000'],
    [
      'connections that are closed for good',
      { ...REFUSED, systemCode: 'UND_ERR_DESTROYED' },
      {},
      'ECONNREFUSED after 1000',
    ],
    ['a 503 of the engine', answered(503, 'engine_starting'), {}, '503 after 1000'],
    ['a 500 of the engine', answered(500, 'engine_error'), {}, 'not_retryable'],
    ['a 500 that is listed', answered(500, 'engine_error'), { retryableErrors: ['500'] }, '500 after 1000'],
    [
      'a code that is listed',
      answered(500, 'engine_error'),
      { retryableErrors: ['engine_error'] },
      'engine_error after 1000',
    ],
    ['a code that is not listed', { ...REFUSED, systemCode: 'EACCES' }, {}, 'not_retryable'],
    ['an empty list', REFUSED, { retryableErrors: [] }, 'not_retryable'],
    ['a name of the code of an object', { ...REFUSED, systemCode: 'constructor' }, {}, 'not_retryable'],
    ['an engine that was lost, listed or not', LOST, { retryableErrors: [] }, 'engine_lost after 1000'],
    ['an engine that was lost twice', { ...LOST, losses: 2, attempt: 2 }, {}, 'engine_lost_again'],
    ['lost once, and now nobody there', { ...REFUSED, losses: 1, attempt: 2 }, {}, 'ECONNREFUSED after 2000'],
    ['a cancelled request', { ...REFUSED, cancelled: true }, {}, 'cancelled'],
    ['a cancelled request of a lost engine', { ...LOST, cancelled: true }, {}, 'cancelled'],
    ['a started answer', { ...REFUSED, answerStarted: true }, {}, 'answer_started'],
    ['a started answer of a lost engine', { ...LOST, answerStarted: true }, {}, 'answer_started'],
    ['a 400', answered(400, 'invalid_request'), {}, 'client_error'],
    ['a 429 although it is listed', answered(429, 'engine_error'), { retryableErrors: ['429'] }, 'client_error'],
    [
      'a code of a 4xx although it is listed',
      answered(500, 'invalid_request'),
      { retryableErrors: ['invalid_request'] },
      'client_error',
    ],
    ['the last retry', { ...REFUSED, attempt: 3 }, {}, 'ECONNREFUSED after 4000'],
    ['one retry too many', { ...REFUSED, attempt: 4 }, {}, 'retries_used_up'],
    ['retries switched off', REFUSED, { maxRetries: 0 }, 'retries_used_up'],
    ['retries switched off, and the engine lost', LOST, { maxRetries: 0 }, 'retries_used_up'],
    ['a spent budget', { ...REFUSED, budgetHasRoom: false }, {}, 'budget_used_up'],
    ['a spent budget, and the engine lost', { ...LOST, budgetHasRoom: false }, {}, 'budget_used_up'],
    ['a deadline after the delay', { ...REFUSED, deadlineLeftMs: 1001 }, {}, 'ECONNREFUSED after 1000'],
    ['a deadline with the delay', { ...REFUSED, deadlineLeftMs: 1000 }, {}, 'deadline'],
    ['an engine that is away', { ...LOST, engineIsAway: true }, {}, 'engine_lost after 0'],
    [
      'an engine that is away and a near deadline',
      { ...LOST, engineIsAway: true, deadlineLeftMs: 1 },
      {},
      'engine_lost after 0',
    ],
    ['an engine that is away and no time left', { ...LOST, engineIsAway: true, deadlineLeftMs: 0 }, {}, 'deadline'],
    ['a longer Retry-After', { ...answered(503, 'engine_starting'), retryAfterMs: 7000 }, {}, '503 after 7000'],
    ['a shorter Retry-After', { ...answered(503, 'engine_starting'), retryAfterMs: 100 }, {}, '503 after 1000'],
    [
      'a Retry-After beyond the deadline',
      { ...answered(503, 'engine_starting'), retryAfterMs: 7000, deadlineLeftMs: 5000 },
      {},
      'deadline',
    ],
    [
      'a Retry-After that nobody waits for',
      { ...answered(503, 'engine_starting'), retryAfterMs: 3_600_000 },
      {},
      'retry_after_too_long',
    ],
  ];
  for (const [name, failed, config, expected] of table) {
    it(`${name}: ${expected}`, () => {
      const decision = decideRetry(failed, { ...CONFIG, ...config }, 1);
      assert.equal(decision.retry ? `${decision.reason} after ${decision.delayMs}` : decision.why, expected);
    });
  }

  it('does not hurry because of jitter where the engine asked for time', () => {
    const decision = decideRetry({ ...answered(503, 'engine_starting'), retryAfterMs: 900 }, CONFIG, 0);
    assert.deepEqual(decision, { retry: true, delayMs: 900, reason: '503' });
  });
});

describe('the delay before a retry', () => {
  const table: [attempt: number, random: number, delayMs: number][] = [
    [1, 0, 500],
    [1, 0.5, 750],
    [1, 1, 1000],
    [2, 1, 2000],
    [3, 0, 2000],
    [3, 1, 4000],
    [100, 1, LONGEST_RETRY_DELAY_MS],
  ];
  for (const [attempt, random, delayMs] of table)
    it(`${delayMs} ms before retry ${attempt} with ${random}`, () =>
      assert.equal(retryDelayMs(attempt, CONFIG, random), delayMs));

  it('grows by the configured factor, from the configured delay', () =>
    assert.equal(retryDelayMs(3, { retryDelay: 10, backoffMultiplier: 3 }, 1), 90));

  it('is never longer than a timer can be', () =>
    assert.equal(retryDelayMs(100, { retryDelay: 2_147_483_647, backoffMultiplier: 100 }, 1), LONGEST_RETRY_DELAY_MS));
});
