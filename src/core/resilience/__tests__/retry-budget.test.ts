import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { RetryBudget } from '../retry-budget.ts';

function budgetAt(options: { ratio?: number; floor?: number; windowMs?: number } = {}) {
  const clock = { now: 0 };
  return { clock, budget: new RetryBudget({ ...options, now: () => clock.now }) };
}

/** As many retries as there is room for; gives how many. */
function spendAll(budget: RetryBudget): number {
  let spent = 0;
  for (; budget.hasRoom(); spent += 1) budget.countRetry();
  return spent;
}

function send(budget: RetryBudget, count: number): void {
  for (let request = 0; request < count; request += 1) budget.countRequest();
}

const second = (ms: number): number => Math.floor(ms / 1000);

describe('the retry budget', () => {
  it('allows a few retries where there is no traffic', () => assert.equal(spendAll(budgetAt().budget), 10));

  const table: [requests: number, retries: number][] = [
    [99, 10],
    [109, 10],
    [110, 11],
    [1000, 100],
  ];
  for (const [requests, retries] of table) {
    it(`allows ${retries} retries of ${requests} requests`, () => {
      const { budget } = budgetAt();
      send(budget, requests);
      assert.equal(spendAll(budget), retries);
    });
  }

  it('has room again when retries fall out of the window, and not sooner', () => {
    const { budget, clock } = budgetAt();
    spendAll(budget);
    clock.now = 59_999;
    assert.equal(budget.hasRoom(), false);
    clock.now = 60_000;
    assert.equal(spendAll(budget), 10);
  });

  it('forgets traffic that fell out of the window', () => {
    const { budget, clock } = budgetAt();
    send(budget, 1000);
    clock.now = 60_000;
    assert.equal(spendAll(budget), 10);
  });

  it('counts right after a long pause', () => {
    const { budget, clock } = budgetAt();
    send(budget, 500);
    spendAll(budget);
    clock.now = 1e9 + 123;
    send(budget, 200);
    assert.equal(spendAll(budget), 20);
  });

  it('counts at every moment what a list of all moments would', () => {
    const step = fc.record({
      waitMs: fc.oneof(fc.constant(0), fc.nat(900), fc.nat(9000)),
      requests: fc.nat(30),
      retries: fc.nat(8),
    });
    const options = {
      ratio: fc.double({ min: 0, max: 1, noNaN: true }),
      floor: fc.nat(5),
      seconds: fc.integer({ min: 1, max: 12 }),
    };
    fc.assert(
      fc.property(fc.record(options), fc.array(step, { maxLength: 60 }), ({ ratio, floor, seconds }, sequence) => {
        const { budget, clock } = budgetAt({ ratio, floor, windowMs: seconds * 1000 });
        const requests: number[] = [];
        const retries: number[] = [];
        const inWindow = (times: readonly number[]): number =>
          times.filter((time) => second(time) > second(clock.now) - seconds).length;
        for (const { waitMs, requests: sent, retries: wanted } of sequence) {
          clock.now += waitMs;
          send(budget, sent);
          for (let request = 0; request < sent; request += 1) requests.push(clock.now);
          for (let retry = 0; retry < wanted; retry += 1) {
            const allowed = Math.max(floor, Math.floor(ratio * inWindow(requests)));
            assert.equal(budget.hasRoom(), inWindow(retries) < allowed);
            if (!budget.hasRoom()) break;
            budget.countRetry();
            retries.push(clock.now);
            assert.ok(inWindow(retries) <= allowed);
          }
        }
      }),
    );
  });
});
