import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { Dialect } from '../../routes.ts';
import { EventFingerprint } from '../event-fingerprint.ts';

function printOf(json: string, dialect: Dialect = 'completion', toTheEnd = true): EventFingerprint {
  const print = new EventFingerprint(dialect);
  const bytes = Buffer.from(json);
  print.read(bytes, 0, bytes.length, null, toTheEnd);
  return print;
}

function sums(json: string): number[] {
  const { first, second } = printOf(json);
  return [first, second];
}

test('what differs between two generations does not count, wherever it stands', () => {
  const strings = ['id', 'item_id', 'call_id', 'system_fingerprint', 'model', 'prompt'];
  const values = ['created', 'created_at', 'completed_at', 'timings', 'usage', 'id_slot', 'tokens_cached', '__verbose'];
  const probabilities = ['logprobs', 'completion_probabilities', 'generation_settings', 'prompt_progress'];
  const pairs = [
    ...strings.map((key) => [key, '"a"', '"another } ] \\" \\\\"']),
    ...[...values, ...probabilities].map((key) => [key, '{"a":[1,{"b":"}"}]}', '17']),
  ] as const;
  for (const [key, one, other] of pairs) {
    for (const [before, after] of [
      ['{', ',"x":1}'],
      ['{"x":1,', '}'],
      ['{"x":[{"y":"z",', ',"w":"v"}],"u":1}'],
    ]) {
      const [left, right] = [one, other].map((value) => `${before}"${key}":${value}${after}`);
      assert.deepEqual(sums(left as string), sums(right as string), `${left} ${right}`);
    }
  }
});

test('everything else counts', () => {
  const pairs = [
    ['{"content":"a"}', '{"content":"b"}'],
    ['{"content":"a"}', '{"text":"a"}'],
    ['{"content":""}', '{"content":null}'],
    ['{"content":"\\"id\\":\\"a\\""}', '{"content":"\\"id\\":\\"b\\""}'],
    ['{"content":"id"}', '{"content":"ie"}'],
    ['{"content":"\\\\"}', '{"content":"\\""}'],
    ['{"tokens":[1]}', '{"tokens":[2]}'],
    ['{"tokens":[{"id":1}]}', '{"tokens":[{"id":2}]}'],
    ['{"a":["id","b"]}', '{"a":["id","c"]}'],
    ['{"id":"x","content":"a"}', '{"id":"x","content":"b"}'],
    ['{"timings":{},"content":"a"}', '{"timings":{},"content":"b"}'],
    ['{"idx":"a"}', '{"idx":"b"}'],
  ] as const;
  for (const [one, other] of pairs) assert.notDeepEqual(sums(one), sums(other), `${one} ${other}`);
});

test('two texts have one fingerprint only if they are one', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary-ascii' }), fc.string({ unit: 'binary-ascii' }), (one, other) => {
      const [left, right] = [one, other].map((content) => JSON.stringify({ id: one, content, stop: false }));
      assert.equal(String(sums(left as string)) === String(sums(right as string)), one === other);
    }),
  );
});

test('the choice and the finish are told', () => {
  const cases: readonly (readonly [Dialect, string, number, boolean])[] = [
    ['chat', '{"choices":[{"finish_reason":null,"index":12,"delta":{}}]}', 12, false],
    ['chat', '{"choices":[{"finish_reason":"stop","index":1,"delta":{"tool_calls":[{"index":4}]}}]}', 1, true],
    ['chat', '{"choices":[{"delta":{"tool_calls":[{"index":4}]},"index":2}]}', 2, false],
    ['chat', '{"choices":[],"usage":{"index":3}}', -1, false],
    ['completions', '{"choices":[{"text":"\\"index\\":7","index":3,"finish_reason":"length"}]}', 3, true],
    ['completion', '{"index":2,"content":"","stop":false}', 2, false],
    ['completion', '{"index":0,"content":"\\"stop\\":true","stop":true}', 0, true],
    ['messages', '{"type":"content_block_start","index":1}', -1, false],
    ['messages', '{"type":"message_start","message":{"stop_reason":null}}', -1, false],
    ['messages', '{"type":"message_delta","delta":{"stop_reason":"end_turn"}}', -1, true],
    ['responses', '{"type":"response.created"}', -1, false],
    ['responses', '{"type":"response.content_part.done"}', -1, false],
    ['responses', '{"type":"response.completed","response":{}}', -1, true],
    ['responses', '{"type":"response.incomplete"}', -1, true],
    ['responses', '{"type":"response.failed"}', -1, true],
  ];
  for (const [dialect, json, choice, finishes] of cases) {
    const print = printOf(json, dialect);
    assert.deepEqual([print.choice, print.finishes], [choice, finishes], json);
  }
});

test('the beginning that is known by heart counts as any other', () => {
  const usual = '{"choices":[{"finish_reason":null,"index":0,"delta":';
  // As one of the other dialect it is read member by member.
  const deltas = [
    '{"content":"a"}',
    '{"content":null,"role":"assistant"}',
    '{"tool_calls":[{"index":2,"id":"x"}]}',
    '{}',
  ];
  for (const delta of deltas) {
    const event = `${usual}${delta}}],"created":1,"id":"chatcmpl-x"}`;
    for (const toTheEnd of [false, true]) {
      const [known, read] = (['chat', 'completions'] as const).map((dialect) => printOf(event, dialect, toTheEnd));
      for (const member of ['first', 'second', 'choice', 'finishes'] as const) {
        assert.equal(known?.[member], read?.[member], `${member} of ${event}`);
      }
    }
  }
  assert.notDeepEqual(printOf(`${usual}{}}]}`, 'chat').first, printOf(`${usual.replace('0', '1')}{}}]}`, 'chat').first);
  assert.equal(printOf(`${usual.replace('0', '1')}{}}]}`, 'chat').choice, 1);
});

test('a run may hold other bytes around an event', () => {
  const print = new EventFingerprint('completion');
  const run = Buffer.from('data: {"content":"a"}\n\ndata: {"content":"b"}\n\n');
  print.read(run, 6, 21, null, true);
  assert.deepEqual([print.first, print.second], sums('{"content":"a"}'));
});
