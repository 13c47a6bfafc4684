import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EventFramer } from '../event-framer.ts';
import type { Dialect } from '../routes.ts';

const CHAT =
  'data: {"choices":[{"delta":{"content":"Grüße 🦙"}}]}\n\ndata: {"choices":[],"timings":{"predicted_n":2}}\n\ndata: [DONE]\n\n';

/** Pushes pieces and joins what came out. */
function feed(framer: EventFramer, pieces: readonly Buffer[]): { out: string; kinds: string[] } {
  const kinds: string[] = [];
  let out = '';
  for (const piece of pieces) {
    const framed = framer.push(piece);
    kinds.push(framed.kind);
    if (framed.kind === 'events') out += framed.events.toString('utf8');
  }
  return { out, kinds };
}

describe('framing of server-sent events', () => {
  it('passes a whole piece on as it is, uncopied', () => {
    const piece = Buffer.from('data: {"a":1}\n\n');
    const framed = new EventFramer().push(piece);
    assert.equal(framed.kind === 'events' && framed.events, piece);
  });

  it('takes an event with 16 MiB of text, however it is cut', () => {
    const text = 'x'.repeat(16 * 1024 * 1024);
    const event = Buffer.from(`data: ${JSON.stringify({ content: text, stop: false })}\n\n`);
    // Behind the text, before the line end, and within the blank line.
    for (const cut of [text.length, event.length - 2, event.length - 1]) {
      const { out, kinds } = feed(new EventFramer(), [event.subarray(0, cut), event.subarray(cut)]);
      assert.deepEqual(kinds, ['partial', 'events'], `cut at ${cut}`);
      assert.equal(out.length, event.length);
    }
  });

  it('loses and doubles nothing, wherever the stream is cut', () => {
    const bytes = Buffer.from(CHAT);
    for (let cut = 1; cut < bytes.length; cut++) {
      const framer = new EventFramer();
      const { out } = feed(framer, [bytes.subarray(0, cut), bytes.subarray(cut)]);
      assert.equal(out, CHAT, `cut at ${cut}`);
      assert.ok(framer.isComplete('chat'), `cut at ${cut}`);
    }
  });

  it('gives out nothing half and is not complete, wherever the stream ends', () => {
    const bytes = Buffer.from(CHAT);
    for (let end = 1; end < bytes.length; end++) {
      const framer = new EventFramer();
      const { out } = feed(framer, [bytes.subarray(0, end)]);
      assert.ok(out === '' || out.endsWith('\n\n'), `end at ${end}`);
      assert.equal(framer.isComplete('chat'), false, `end at ${end}`);
    }
  });

  it('takes a stream byte by byte', () => {
    const framer = new EventFramer();
    const { out } = feed(
      framer,
      [...Buffer.from(CHAT)].map((byte) => Buffer.from([byte])),
    );
    assert.equal(out, CHAT);
  });

  it('understands line ends of other servers', () => {
    const framer = new EventFramer();
    const { out } = feed(framer, [Buffer.from('data: {"a":1}\r\n\r\ndata: [DONE]\r'), Buffer.from('\n\r\n')]);
    assert.equal(out, 'data: {"a":1}\r\n\r\ndata: [DONE]\r\n\r\n');
    assert.ok(framer.isComplete('chat'));
  });

  const ends: [dialect: Dialect, stream: string, complete: boolean][] = [
    ['chat', 'data: {"a":1}\n\ndata: [DONE]\n\n', true],
    ['chat', 'data: {"a":"[DONE]"}\n\n', false],
    ['chat', 'data: {"a":"x\\n\\ndata: [DONE]\\n\\n"}\n\n', false],
    ['completions', 'data: [DONE]\n\n', true],
    ['completion', 'data: {"content":"x","stop":false}\n\ndata: {"content":"","stop":true}\n\n', true],
    ['completion', 'data: {"content":"\\"stop\\":true","stop":false}\n\n', false],
    ['messages', 'event: message_delta\ndata: {}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n', true],
    ['messages', 'event: message_delta\ndata: {}\n\n', false],
    ['responses', 'event: response.completed\ndata: {"type":"response.completed"}\n\n', true],
    ['responses', 'event: response.incomplete\ndata: {"type":"response.incomplete"}\n\n', true],
    ['responses', 'event: response.output_text.delta\ndata: {"delta":"event: response.completed"}\n\n', false],
    ['chat', ':\n\n', false],
  ];
  for (const [dialect, stream, complete] of ends) {
    it(`${dialect}: ${JSON.stringify(stream)} is ${complete ? '' : 'not '}complete`, () => {
      const framer = new EventFramer();
      feed(framer, [Buffer.from(stream)]);
      assert.equal(framer.isComplete(dialect), complete);
    });
  }

  it('gives out what was valid before a broken event of the same piece', () => {
    const framed = new EventFramer().push(Buffer.from('data: {"a":"ü"}\n\ndata: {"b":"}\n\n'));
    assert.equal(framed.kind === 'garbage' && framed.before.toString(), 'data: {"a":"ü"}\n\n');
  });

  const garbage = ['<html>\n\n', '{"a":1}\n\n', 'data: {"cut":[\n\n', '\u0000\u0001\n\n', 'dataset: 1\n\n'];
  for (const text of garbage) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.equal(new EventFramer().push(Buffer.from(text)).kind, 'garbage');
    });
  }

  it('refuses an endless event', () => {
    const framer = new EventFramer();
    const piece = Buffer.from('data: ' + 'x'.repeat(1024 * 1024));
    const kinds = Array.from({ length: 34 }, () => framer.push(piece).kind);
    assert.equal(kinds.at(-1), 'garbage');
  });

  it('finds an error that the engine reports in the stream, and what came before it', () => {
    const framed = new EventFramer().push(
      Buffer.from('data: {"a":1}\n\ndata: {"error":{"code":500,"message":"boom"}}\n\n'),
    );
    assert.equal(framed.kind, 'error');
    assert.equal(framed.kind === 'error' && framed.before.toString(), 'data: {"a":1}\n\n');
    assert.deepEqual(framed.kind === 'error' && framed.error, { code: 500, message: 'boom' });
    assert.equal(
      new EventFramer().push(Buffer.from('event: error\ndata: {"type":"error","error":{}}\n\n')).kind,
      'error',
    );
  });

  it('does not take text of the model for an error', () => {
    const text = JSON.stringify({ content: 'data: {"error":{}}\nevent: error\n' });
    assert.equal(new EventFramer().push(Buffer.from(`data: ${text}\n\n`)).kind, 'events');
  });

  it('finds usage and timings at the end', () => {
    const framer = new EventFramer();
    feed(framer, [
      Buffer.from('data: {"choices":[],"timings":{"predicted_n":2}}\n\n'),
      Buffer.from('data: [DONE]\n\n'),
    ]);
    assert.deepEqual(framer.finalData()[0], { choices: [], timings: { predicted_n: 2 } });
  });
});
