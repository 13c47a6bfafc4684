import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as immediate, setTimeout as delay } from 'node:timers/promises';
import { LlameroError } from '../../errors.ts';
import { ANONYMOUS } from '../client.ts';
import type { RateGrant } from '../rate-limits.ts';
import { clientAt, rateLimits, windowsOf } from './rate-limit-fixture.ts';

const DEADLINE = { timeout: 20_000 };

function remaining(grant: RateGrant): number[] {
  return grant.state.windows.map((window) => window.remaining);
}

describe('rate limits in memory', () => {
  it('need no check where nothing is limited', async () => {
    await using fixture = rateLimits({ pools: { ip: { requestsPerMinute: 5 } } });
    assert.equal(fixture.limits.needsCheck(ANONYMOUS), false);
    assert.equal(fixture.limits.needsCheck(clientAt('1.1.1.1')), true);
    assert.equal(fixture.limits.needsCheck(clientAt('1.1.1.1', { requestsPerMinute: null })), false);
  });

  it('admit as many as the limit says, and say which limit refuses and when it ends', DEADLINE, async () => {
    await using fixture = rateLimits({ requestsPerMinute: 2, requestsPerHour: 10 });
    assert.deepEqual(remaining(await fixture.admit()), [1, 9]);
    assert.deepEqual(remaining(await fixture.admit()), [0, 8]);
    const error = await fixture.refused();
    assert.equal(error.code, 'rate_limit_exceeded');
    assert.match(error.message, /limit of 2 requests per minute; it ends in 60 s/);
    assert.ok(error.retryAfterMs !== undefined && error.retryAfterMs > 59_000 && error.retryAfterMs <= 60_001);
    assert.equal(error.details['limit'], 'requestsPerMinute');
  });

  it('keep clients apart', DEADLINE, async () => {
    await using fixture = rateLimits({ requestsPerMinute: 1 });
    await fixture.admit({ client: clientAt('1.1.1.1') });
    await fixture.refused({ client: clientAt('1.1.1.1') });
    await fixture.admit({ client: clientAt('1.1.1.2') });
  });

  it('admit who waits exactly as long as the refusal said, also behind two limits', DEADLINE, async () => {
    const windows = windowsOf({ requestsPerMinute: 150, requestsPerHour: 400 });
    await using fixture = rateLimits({ requestsPerMinute: 2, requestsPerHour: 3 }, { windows });
    await fixture.admit();
    await fixture.admit();
    const first = await fixture.refused();
    await delay(first.retryAfterMs);
    await fixture.admit();
    const second = await fixture.refused();
    assert.equal(second.details['limit'], 'requestsPerHour');
    await delay(second.retryAfterMs);
    await fixture.admit();
  });

  it('let a refused request cost nothing', DEADLINE, async () => {
    await using fixture = rateLimits({ requestsPerMinute: 1, requestsPerHour: 100, tokensPerDay: 1000 });
    await fixture.admit();
    for (let index = 0; index < 50; index++) await fixture.refused();
    const error = await fixture.refused();
    const { windows } = error.details['limits'] as RateGrant['state'];
    assert.deepEqual(
      windows.map((window) => window.remaining),
      [0, 99, 998],
    );
  });

  it('give back what was refunded, and nothing twice', DEADLINE, async () => {
    await using fixture = rateLimits({ requestsPerMinute: 2, tokensPerMinute: 100, maxConcurrent: 1 });
    const refunded = await fixture.admit({ maxTokens: 49 });
    refunded.refund();
    refunded.refund();
    refunded.settle(50);
    assert.deepEqual(remaining(await fixture.admit({ maxTokens: 49 })), [1, 50]);
  });

  it('admit no more than the limit of many that race', DEADLINE, async () => {
    await using fixture = rateLimits({ requestsPerMinute: 10, requestsPerHour: 20 });
    const results = await Promise.allSettled(Array.from({ length: 50 }, () => fixture.admit()));
    assert.equal(results.filter((result) => result.status === 'fulfilled').length, 10);
  });

  it('forgive nothing while a window is open, however long its client stays away', DEADLINE, async () => {
    await using fixture = rateLimits({ requestsPerHour: 1 }, { cleanup: { interval: 1, maxAge: 1 } });
    await fixture.admit();
    const windowless = clientAt('1.1.1.1', { requestsPerHour: null, maxConcurrent: 1 });
    (await fixture.admit({ client: windowless })).settle(0);
    while (fixture.limits.clients > 1) await immediate();
    assert.equal((await fixture.refused()).code, 'rate_limit_exceeded');
  });

  it('report refusals with a hashed client, once a second for each', DEADLINE, async () => {
    await using fixture = rateLimits({ requestsPerMinute: 1 });
    const client = clientAt('203.0.113.7');
    await fixture.admit({ client });
    for (let index = 0; index < 20; index++) await fixture.refused({ client });
    const [event] = fixture.refusals;
    assert.equal(fixture.refusals.length, 1);
    assert.equal(JSON.stringify(event).includes('203.0.113'), false);
    assert.deepEqual(
      { ...event, client: '', retryAfterMs: 0 },
      { id: 'request-2', pool: 'ip', client: '', limit: 'requestsPerMinute', retryAfterMs: 0, refusals: 1 },
    );
    assert.match(event?.client ?? '', /^[0-9a-f]{16}$/);
  });
});

describe('token budgets', () => {
  it('are reserved at admission and corrected from what was used', DEADLINE, async () => {
    await using fixture = rateLimits({ tokensPerMinute: 100, tokensPerDay: 1000 });
    const grant = await fixture.admit({ promptTokens: 10, maxTokens: 50 });
    assert.equal(grant.tokenBudget, 60);
    assert.deepEqual(remaining(grant), [40, 940]);
    grant.settle(25);
    grant.settle(60);
    assert.deepEqual(remaining(await fixture.admit({ promptTokens: 5, maxTokens: 0 })), [70, 970]);
  });

  it('shrink to what is left, and charge what went beyond them', DEADLINE, async () => {
    await using fixture = rateLimits({ tokensPerMinute: 100, tokensPerDay: 1000 });
    (await fixture.admit({ promptTokens: 60, maxTokens: 20 })).settle(80);
    const shrunk = await fixture.admit({ promptTokens: 10, maxTokens: 50 });
    assert.equal(shrunk.tokenBudget, 20);
    assert.deepEqual(remaining(shrunk), [0, 900]);
    shrunk.settle(23);
    const error = await fixture.refused({ promptTokens: 1 });
    assert.equal(error.details['limit'], 'tokensPerMinute');
    const { windows } = error.details['limits'] as RateGrant['state'];
    assert.deepEqual(
      windows.map((window) => window.remaining),
      [0, 897],
    );
  });

  it('take all there is when the end is open', DEADLINE, async () => {
    await using fixture = rateLimits({ tokensPerMinute: 100 });
    (await fixture.admit({ promptTokens: 30, maxTokens: 0 })).settle(30);
    assert.equal((await fixture.admit({ promptTokens: 10, maxTokens: null })).tokenBudget, 70);
  });

  it('are honest about when enough is back', DEADLINE, async () => {
    await using fixture = rateLimits({ tokensPerMinute: 10 }, { windows: windowsOf({ tokensPerMinute: 200 }) });
    await fixture.admit({ promptTokens: 5, maxTokens: 4 });
    const error = await fixture.refused({ promptTokens: 5, maxTokens: 5 });
    await delay(error.retryAfterMs);
    assert.equal((await fixture.admit({ promptTokens: 5, maxTokens: 5 })).tokenBudget, 10);
  });

  it('of many requests that race take no more than there is, and leave nothing lying', DEADLINE, async () => {
    await using fixture = rateLimits({ tokensPerMinute: 250 });
    const admitted = Array.from({ length: 4 }, () => fixture.admit({ promptTokens: 10, maxTokens: 90 }));
    const results = await Promise.allSettled(admitted);
    const budgets = results.map((result) => (result.status === 'fulfilled' ? result.value.tokenBudget : null));
    assert.deepEqual(budgets, [100, 100, 50, null]);
  });

  it('are corrected only in the window that they were reserved in', DEADLINE, async () => {
    await using fixture = rateLimits({ tokensPerMinute: 100 }, { windows: windowsOf({ tokensPerMinute: 100 }) });
    const old = await fixture.admit({ promptTokens: 1, maxTokens: 98 });
    await delay((await fixture.refused({ promptTokens: 50 })).retryAfterMs);
    const fresh = await fixture.admit({ promptTokens: 10, maxTokens: 10 });
    old.settle(1);
    fresh.settle(20);
    const error = await fixture.refused({ promptTokens: 85, maxTokens: 5 });
    assert.equal(error.code, 'rate_limit_exceeded');
  });

  it('refuse for good what the whole limit could not pay for', DEADLINE, async () => {
    await using fixture = rateLimits({ tokensPerMinute: 100 });
    const error = await fixture.refused({ promptTokens: 100, maxTokens: 5 });
    assert.equal(error.code, 'request_too_large');
    assert.equal(error.retryable, false);
    assert.match(error.message, /101 tokens.*100 tokens per minute/);
  });

  it('do not concern requests that use no tokens', DEADLINE, async () => {
    await using fixture = rateLimits({ tokensPerMinute: 1 });
    const grant = await fixture.admit({ promptTokens: 500, countsTokens: false });
    assert.equal(grant.tokenBudget, null);
    grant.settle(0);
  });
});

describe('requests in flight', () => {
  it('are bounded for each client, and free again when they settle or are refunded', DEADLINE, async () => {
    await using fixture = rateLimits({ maxConcurrent: 2, requestsPerMinute: 100 });
    const first = await fixture.admit();
    const second = await fixture.admit();
    const error = await fixture.refused();
    assert.equal(error.details['limit'], 'maxConcurrent');
    assert.ok((error.retryAfterMs ?? 0) > 0);
    await fixture.admit({ client: clientAt('1.1.1.1') });
    first.settle(2);
    const third = await fixture.admit();
    assert.deepEqual(remaining(third), [97]);
    second.refund();
    await fixture.admit();
    await fixture.refused();
  });

  it('are not admitted when their signal has fired already', DEADLINE, async () => {
    await using fixture = rateLimits({ maxConcurrent: 1, requestsPerMinute: 1 });
    const reason = new LlameroError('deadline_exceeded', 'too late');
    assert.equal(await fixture.refused({ signal: AbortSignal.abort(reason) }), reason);
    assert.equal((await fixture.refused({ signal: AbortSignal.abort() })).code, 'cancelled');
    await fixture.admit();
  });

  it('keep their client from being forgotten', DEADLINE, async () => {
    await using fixture = rateLimits({ maxConcurrent: 1, maxClients: 2 });
    const grant = await fixture.admit();
    for (let index = 0; index < 10; index++) (await fixture.admit({ client: clientAt(String(index)) })).settle(0);
    assert.equal(fixture.limits.clients, 2);
    await fixture.refused();
    grant.settle(0);
    await fixture.admit();
  });
});
