import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { array, assert as assertProperty, integer, nat, option, property, record } from 'fast-check';
import { parseConfig } from '../../config.ts';
import { ANONYMOUS, type Client, type ClientLimits } from '../client.ts';
import {
  claimsOf,
  clientLimits,
  decide,
  isUnlimited,
  keptOf,
  poolLimits,
  RATE_LIMIT_WINDOWS,
  stateAfter,
  type RequestSize,
} from '../rate-limit-policy.ts';

const NONE: ClientLimits = {
  requestsPerMinute: null,
  requestsPerHour: null,
  tokensPerMinute: null,
  tokensPerDay: null,
  maxConcurrent: null,
};
const [PER_MINUTE, PER_HOUR, TOKENS_PER_MINUTE, TOKENS_PER_DAY] = RATE_LIMIT_WINDOWS as [
  (typeof RATE_LIMIT_WINDOWS)[number],
  (typeof RATE_LIMIT_WINDOWS)[number],
  (typeof RATE_LIMIT_WINDOWS)[number],
  (typeof RATE_LIMIT_WINDOWS)[number],
];

describe('whose limits apply', () => {
  const { rateLimit } = parseConfig({
    rateLimit: {
      requestsPerMinute: 60,
      requestsPerHour: 1000,
      tokensPerDay: 5000,
      pools: { ip: { requestsPerMinute: 10 }, user: { requestsPerHour: null } },
    },
  });
  const pools = poolLimits(rateLimit);
  const cases: [string, Partial<Client>, Partial<ClientLimits>][] = [
    ['everybody', { pool: 'anonymous' }, { requestsPerMinute: 60, requestsPerHour: 1000 }],
    ['a pool over everybody', { pool: 'ip' }, { requestsPerMinute: 10, requestsPerHour: 1000 }],
    ['null in a pool lifts', { pool: 'user' }, { requestsPerMinute: 60, requestsPerHour: null }],
    [
      'own over the pool',
      { pool: 'ip', limits: { requestsPerMinute: 7 } },
      { requestsPerMinute: 7, requestsPerHour: 1000 },
    ],
    [
      'own null lifts',
      { pool: 'ip', limits: { requestsPerMinute: null } },
      { requestsPerMinute: null, requestsPerHour: 1000 },
    ],
    [
      'undefined inherits',
      { pool: 'ip', limits: { requestsPerMinute: undefined } },
      { requestsPerMinute: 10, requestsPerHour: 1000 },
    ],
  ];
  for (const [name, client, expected] of cases) {
    it(name, () => {
      const limits = clientLimits({ ...ANONYMOUS, ...client }, pools);
      assert.deepEqual(limits, { ...NONE, tokensPerDay: 5000, ...expected });
    });
  }

  it('unlimited is who has no limit at all', () => {
    assert.equal(isUnlimited(NONE), true);
    for (const name of Object.keys(NONE)) assert.equal(isUnlimited({ ...NONE, [name]: 1 }), false, name);
  });
});

describe('what a request claims', () => {
  const cases: [string, Partial<ClientLimits>, RequestSize, [string, number, number][]][] = [
    ['nothing where nothing is limited', {}, size(10, 10), []],
    [
      'one request each',
      { requestsPerMinute: 5, requestsPerHour: 9 },
      size(10, 10),
      [
        ['requestsPerMinute', 1, 1],
        ['requestsPerHour', 1, 1],
      ],
    ],
    ['prompt and completion', { tokensPerMinute: 100 }, size(10, 20), [['tokensPerMinute', 30, 11]]],
    ['never more than the limit', { tokensPerMinute: 100 }, size(10, 500), [['tokensPerMinute', 100, 11]]],
    ['the limit, when the end is open', { tokensPerMinute: 100 }, size(10, null), [['tokensPerMinute', 100, 11]]],
    [
      'the prompt alone, when nothing is generated',
      { tokensPerMinute: 100 },
      size(10, 0),
      [['tokensPerMinute', 10, 10]],
    ],
    [
      'no tokens where none are used',
      { requestsPerMinute: 5, tokensPerMinute: 100 },
      { ...size(10, 5), countsTokens: false },
      [['requestsPerMinute', 1, 1]],
    ],
    [
      'more than the limit, when the prompt is',
      { tokensPerMinute: 100 },
      size(200, 10),
      [['tokensPerMinute', 201, 201]],
    ],
    ['whole tokens', { tokensPerMinute: 100 }, size(10.2, 4.5), [['tokensPerMinute', 16, 12]]],
  ];
  for (const [name, limits, request, expected] of cases) {
    it(name, () => {
      const claims = claimsOf({ ...NONE, ...limits }, request, RATE_LIMIT_WINDOWS);
      assert.deepEqual(
        claims.map((claim) => [claim.window.name, claim.wanted, claim.least]),
        expected,
      );
    });
  }
});

const request = (limit: number) => ({ window: PER_MINUTE, limit, wanted: 1, least: 1 });
const hourly = (limit: number) => ({ window: PER_HOUR, limit, wanted: 1, least: 1 });
const tokens = (limit: number, wanted: number, least: number) => ({
  window: TOKENS_PER_MINUTE,
  limit,
  wanted,
  least,
});
const daily = (limit: number, wanted: number, least: number) => ({ window: TOKENS_PER_DAY, limit, wanted, least });
const read = (consumedPoints: number, msBeforeNext = 1000) => ({ consumedPoints, msBeforeNext });

describe('the decision', () => {
  it('admits the last request of a limit, and refuses the next', () => {
    assert.deepEqual(decide([request(3)], [read(3)], true), { admitted: true, refusedBy: -1, tokenBudget: null });
    assert.deepEqual(decide([request(3)], [read(4)], true), { admitted: false, refusedBy: 0, tokenBudget: null });
  });

  it('names the refusing window that ends last', () => {
    const verdict = decide([request(3), hourly(9)], [read(4, 500), read(10, 9000)], true);
    assert.equal(verdict.refusedBy, 1);
  });

  it('refuses who may not be in flight, although its windows would let it', () => {
    assert.deepEqual(decide([request(3)], [read(1)], false), { admitted: false, refusedBy: -1, tokenBudget: null });
  });

  it('grants what is left when that is less than what was wanted', () => {
    const verdict = decide([tokens(100, 50, 11)], [read(120)], true);
    assert.deepEqual(verdict, { admitted: true, refusedBy: -1, tokenBudget: 30 });
  });

  it('grants the prompt and one token, but not less', () => {
    assert.equal(decide([tokens(100, 50, 11)], [read(139)], true).tokenBudget, 11);
    assert.equal(decide([tokens(100, 50, 11)], [read(140)], true).admitted, false);
  });

  it('takes the smaller of two budgets, and tells what is left of both', () => {
    const claims = [tokens(100, 50, 11), daily(1000, 50, 11)];
    const readings = [read(110), read(200)];
    const verdict = decide(claims, readings, true);
    assert.equal(verdict.tokenBudget, 40);
    assert.deepEqual(
      claims.map((claim) => keptOf(claim, verdict)),
      [40, 40],
    );
    assert.deepEqual(
      stateAfter(claims, readings, verdict).windows.map((window) => window.remaining),
      [0, 810],
    );
  });

  it('never grants more than the limit in sum, whatever comes in which order', () => {
    const requests = array(record({ prompt: nat(60), max: option(nat(200)) }), { maxLength: 40 });
    assertProperty(
      property(integer({ min: 1, max: 300 }), requests, (limit, list) => {
        let consumed = 0;
        for (const { prompt, max } of list) {
          const claims = claimsOf({ ...NONE, tokensPerMinute: limit }, size(prompt, max), RATE_LIMIT_WINDOWS);
          const [claim] = claims;
          assert.ok(claim !== undefined);
          const verdict = decide(claims, [read(consumed + claim.wanted)], true);
          const kept = keptOf(claim, verdict);
          assert.ok(verdict.admitted ? kept >= claim.least && kept <= claim.wanted : kept === 0);
          assert.equal(verdict.admitted, limit - consumed >= claim.least);
          consumed += kept;
          assert.ok(consumed <= limit);
        }
      }),
      { seed: 42 },
    );
  });
});

function size(promptTokens: number, maxTokens: number | null): RequestSize {
  return { promptTokens, maxTokens, countsTokens: true };
}
