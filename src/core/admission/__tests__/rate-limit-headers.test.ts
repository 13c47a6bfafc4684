import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { bindingWindow, rateLimitHeaders, resetDuration } from '../rate-limit-headers.ts';
import { RATE_LIMIT_WINDOWS, type WindowName, type WindowState } from '../rate-limit-policy.ts';

function left(name: WindowName, limit: number, remaining: number, resetMs: number): WindowState {
  const window = RATE_LIMIT_WINDOWS.find((candidate) => candidate.name === name);
  assert.ok(window !== undefined);
  return { window, limit, remaining, resetMs };
}

function pairs(headers: readonly string[]): string[][] {
  return headers.flatMap((name, index) => (index % 2 === 0 ? [[name, headers[index + 1] ?? '']] : []));
}

describe('rate limit headers', () => {
  it('are none where nothing is limited', () => {
    assert.deepEqual(rateLimitHeaders({ windows: [] }), []);
  });

  it('tell every window, and in those of OpenAI the one with the least left', () => {
    const windows = [
      left('requestsPerMinute', 60, 59, 59_400),
      left('requestsPerHour', 1000, 12, 1_800_000),
      left('tokensPerDay', 150_000, 149_984, 86_399_001),
    ];
    assert.deepEqual(pairs(rateLimitHeaders({ windows })), [
      ['x-ratelimit-limit-requests', '1000'],
      ['x-ratelimit-remaining-requests', '12'],
      ['x-ratelimit-reset-requests', '30m0s'],
      ['x-ratelimit-limit-tokens', '150000'],
      ['x-ratelimit-remaining-tokens', '149984'],
      ['x-ratelimit-reset-tokens', '24h0m0s'],
      [
        'ratelimit',
        '"requests-per-minute";r=59;t=60, "requests-per-hour";r=12;t=1800, "tokens-per-day";r=149984;t=86400',
      ],
      [
        'ratelimit-policy',
        '"requests-per-minute";q=60;w=60, "requests-per-hour";q=1000;w=3600, "tokens-per-day";q=150000;w=86400;qu="tokens"',
      ],
    ]);
  });

  it('leave out tokens where tokens are not limited', () => {
    const headers = rateLimitHeaders({ windows: [left('requestsPerMinute', 60, 0, 1)] });
    assert.equal(
      headers.some((header) => header.includes('tokens')),
      false,
    );
  });

  it('of two windows with as little left, the one that ends last binds', () => {
    const windows = [left('requestsPerMinute', 60, 0, 1000), left('requestsPerHour', 1000, 0, 9000)];
    assert.equal(bindingWindow(windows, 'requests')?.window.name, 'requestsPerHour');
    assert.equal(bindingWindow(windows, 'tokens'), null);
  });

  const durations: [number, string][] = [
    [-5, '0s'],
    [0, '0s'],
    [1, '1s'],
    [1000, '1s'],
    [59_001, '1m0s'],
    [360_000, '6m0s'],
    [3_599_999, '1h0m0s'],
    [3_661_000, '1h1m1s'],
    [86_400_000, '24h0m0s'],
  ];
  for (const [durationMs, text] of durations) {
    it(`${durationMs} ms are ${text}`, () => assert.equal(resetDuration(durationMs), text));
  }
});
