import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Dialect } from '../routes.ts';
import { StreamTrace } from '../stream-trace.ts';

const FINISH = 'data: {"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"id":"a"}\n\n';
const USAGE = 'data: {"choices":[],"id":"a","usage":{"total_tokens":3}}\n\n';
const DELTA = 'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"x"}}],"id":"a"}\n\n';
const DONE = 'data: [DONE]\n\n';
const MARK = '"llamero":{"continued":2}';

/** Streams by dialect, and the event that carries the mark. */
const STREAMS: readonly { dialect: Dialect; events: readonly string[]; marked: number }[] = [
  { dialect: 'chat', events: [DELTA, FINISH, DONE], marked: 1 },
  { dialect: 'chat', events: [DELTA, FINISH, USAGE, DONE], marked: 2 },
  { dialect: 'chat', events: [DELTA, FINISH, FINISH, DONE], marked: 2 },
  {
    dialect: 'completions',
    events: ['data: {"choices":[{"text":"","index":0,"finish_reason":"length"}]}\n\n', DONE],
    marked: 0,
  },
  {
    dialect: 'completion',
    events: ['data: {"index":0,"content":"x","stop":false}\n\n', 'data: {"index":0,"content":"","stop":true}\n\n'],
    marked: 1,
  },
  {
    dialect: 'responses',
    events: [
      'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"x"}\n\n',
      'event: response.completed\ndata: {"type":"response.completed","response":{"id":"r"}}\n\n',
    ],
    marked: 1,
  },
  {
    dialect: 'messages',
    events: [
      'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\n',
      'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ],
    marked: 1,
  },
];

describe('the trace of a stream', () => {
  for (const { dialect, events, marked } of STREAMS) {
    it(`stands in its last event, however the stream is cut: ${dialect}, ${events.length} events`, () => {
      const expected = events.map((event, index) =>
        index === marked ? event.replace(/\}\n\n$/, `,${MARK}}\n\n`) : event,
      );
      const all = new StreamTrace(dialect);
      assert.equal(all.take(Buffer.from(events.join('')), 2).toString() + all.rest().toString(), expected.join(''));
      const each = new StreamTrace(dialect);
      const parts = events.map((event) => each.take(Buffer.from(event), 2).toString());
      assert.equal(parts.join('') + each.rest().toString(), expected.join(''));
    });
  }

  it('leaves comments where they are, and joins a notice', () => {
    const trace = new StreamTrace('chat');
    const notice = 'data: {"object":"chat.completion.chunk","choices":[],"llamero":{"code":"rate_limit_exceeded"}}\n\n';
    const run = Buffer.from(`: continued\n\n${FINISH}${notice}${DONE}`);
    const expected = notice.replace('exceeded"', 'exceeded","continued":1');
    assert.equal(trace.take(run, 1).toString(), `: continued\n\n${FINISH}${expected}${DONE}`);
  });

  it('is not made for the text of an answer that looks like an end', () => {
    const trace = new StreamTrace('completion');
    const event = 'data: {"index":0,"content":"\\"stop\\":true","stop":false}\n\n';
    assert.equal(trace.take(Buffer.from(event), 0).toString(), event);
  });
});
