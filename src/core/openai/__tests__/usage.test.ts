import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TokenCounts } from '../../events.ts';
import { EventFramer } from '../event-framer.ts';
import { tokenCountsIn, tokenCountsOf } from '../usage.ts';
import { RECORDED_ANSWERS, type RecordedAnswer } from './recorded-answers.ts';

/** What was recorded. Anthropic's dialect cannot be asked to leave the cache alone. */
function countsOf({ dialect, promptTokens, completionTokens }: RecordedAnswer): TokenCounts {
  return { promptTokens, completionTokens, cachedTokens: dialect === 'messages' ? promptTokens - 1 : 0 };
}

describe('token counts', () => {
  for (const answer of RECORDED_ANSWERS) {
    const { name, whole } = answer;
    const counts = countsOf(answer);
    it(`${name}: of a whole answer, by bytes as by parsing`, () => {
      assert.deepEqual(tokenCountsIn(Buffer.from(whole)), counts);
      assert.deepEqual(tokenCountsOf(JSON.parse(whole)), counts);
    });
  }

  for (const answer of RECORDED_ANSWERS) {
    const { name, stream, withProgress } = answer;
    const counts = countsOf(answer);
    it(`${name}: of a stream, however it is cut`, () => {
      for (const text of [stream, withProgress]) {
        const bytes = Buffer.from(text);
        for (const size of [1, 7, 100, bytes.length]) {
          const framer = new EventFramer();
          for (let at = 0; at < bytes.length; at += size) framer.push(bytes.subarray(at, at + size));
          assert.deepEqual(framer.tokenCounts(), counts, `in pieces of ${size}`);
        }
      }
    });

    it(`${name}: one event for nearly every token`, () => {
      const framer = new EventFramer();
      framer.push(Buffer.from(stream));
      const more = framer.dataEvents - counts.completionTokens;
      assert.ok(more >= 1 && more <= 10, `${more} more`);
    });
  }

  const rows: [json: string, expected: ReturnType<typeof tokenCountsIn>][] = [
    ['{}', null],
    ['{"usage":null,"timings":null}', null],
    ['{"usage":{"prompt_tokens":3', null],
    ['{"usage":{"prompt_tokens":3}}', { promptTokens: 3, completionTokens: 0, cachedTokens: 0 }],
    ['{"content":"\\"usage\\":{\\"prompt_tokens\\":9}"}', null],
    [
      '{"timings":{"prompt_n":2,"cache_n":1,"predicted_n":4},"usage":{"prompt_tokens":9}}',
      { promptTokens: 3, completionTokens: 4, cachedTokens: 1 },
    ],
    [
      '{"usage":{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":2}}}',
      { promptTokens: 3, completionTokens: 4, cachedTokens: 2 },
    ],
    ['{"usage":{"prompt_tokens":"many"}}', { promptTokens: 0, completionTokens: 0, cachedTokens: 0 }],
  ];
  for (const [json, expected] of rows) {
    it(`${json}: ${JSON.stringify(expected)}`, () => assert.deepEqual(tokenCountsIn(Buffer.from(json)), expected));
  }
});
