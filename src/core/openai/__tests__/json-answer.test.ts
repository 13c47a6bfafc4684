import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { asksForJson, isJsonAnswer } from '../json-answer.ts';
import type { Dialect } from '../routes.ts';

describe('a request that asks for JSON', () => {
  const cases: readonly [string, Record<string, unknown>, boolean][] = [
    ['plain', {}, false],
    ['text', { response_format: { type: 'text' } }, false],
    ['object', { response_format: { type: 'json_object' } }, true],
    ['schema', { response_format: { type: 'json_schema', json_schema: {} } }, true],
    ['schema of llama.cpp', { json_schema: {} }, true],
    ['no schema', { json_schema: null }, false],
    ['responses', { text: { format: { type: 'json_schema' } } }, true],
    ['messages', { output_config: { format: { type: 'json_schema' } } }, true],
    ['grammar', { grammar: 'root ::= "a"' }, false],
    ['with texts to stop at', { json_schema: {}, stop: ['}'] }, false],
  ];
  for (const [name, fields, expected] of cases) {
    it(name, () => assert.equal(asksForJson(fields), expected));
  }
});

/** A stream of each dialect with that text. */
const STREAMS: readonly { dialect: Dialect; stopped: (text: string) => object[]; cut: (text: string) => object[] }[] = [
  {
    dialect: 'chat',
    stopped: (text) => [chat({ content: text }, null), chat({}, 'stop')],
    cut: (text) => [chat({ content: text }, null), chat({}, 'length')],
  },
  {
    dialect: 'completions',
    stopped: (text) => [{ choices: [{ index: 0, text, finish_reason: 'stop' }] }],
    cut: (text) => [{ choices: [{ index: 0, text, finish_reason: 'length' }] }],
  },
  {
    dialect: 'completion',
    stopped: (text) => [
      { index: 0, content: text, stop: false },
      { index: 0, content: '', stop: true, stop_type: 'eos' },
    ],
    cut: (text) => [{ index: 0, content: text, stop: true, stop_type: 'limit' }],
  },
  { dialect: 'responses', stopped: (text) => response(text, 3), cut: (text) => response(text, 8) },
  { dialect: 'messages', stopped: (text) => message(text, 'end_turn'), cut: (text) => message(text, 'max_tokens') },
];

describe('a whole stream', () => {
  for (const { dialect, stopped, cut } of STREAMS) {
    it(`is JSON, or is not, where it ended by itself: ${dialect}`, () => {
      assert.equal(isJsonAnswer(stream(stopped('{"a":1}')), dialect, 8), true);
      assert.equal(isJsonAnswer(stream(stopped('{"a":')), dialect, 8), false);
      assert.equal(isJsonAnswer(stream(stopped('')), dialect, 8), false);
      assert.equal(isJsonAnswer(stream(cut('{"a":')), dialect, 8), true);
    });
  }

  it('is judged answer by answer, calls of tools aside', () => {
    const one = [
      chat({ content: '{}' }, 'stop'),
      { choices: [{ index: 1, delta: { content: '{' }, finish_reason: null }] },
    ];
    const two = { choices: [{ index: 1, delta: { content: '}' }, finish_reason: 'stop' }] };
    assert.equal(isJsonAnswer(stream([...one, two]), 'chat', null), true);
    const call = { choices: [{ index: 1, delta: {}, finish_reason: 'tool_calls' }] };
    assert.equal(isJsonAnswer(stream([...one, call]), 'chat', null), true);
    const broken = { choices: [{ index: 1, delta: {}, finish_reason: 'stop' }] };
    assert.equal(isJsonAnswer(stream([...one, broken]), 'chat', null), false);
  });
});

function chat(delta: object, finish: string | null): object {
  return { choices: [{ index: 0, delta, finish_reason: finish }] };
}

function response(text: string, tokens: number): object[] {
  const delta = { type: 'response.output_text.delta', delta: text };
  const done = { output: [{ type: 'message' }], usage: { output_tokens: tokens } };
  return [delta, { type: 'response.completed', response: done }];
}

function message(text: string, reason: string): object[] {
  return [
    { type: 'content_block_delta', delta: { type: 'text_delta', text } },
    { type: 'message_delta', delta: { stop_reason: reason } },
    { type: 'message_stop' },
  ];
}

function stream(events: readonly object[]): Buffer {
  return Buffer.from(events.map((data) => `data: ${JSON.stringify(data)}\n\n`).join('') + 'data: [DONE]\n\n');
}
