import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { RECORDED_ANSWERS } from '../../__tests__/recorded-answers.ts';
import { EventFramer } from '../../event-framer.ts';
import { ProgressFilter } from '../../prompt-progress.ts';
import { type Dialect, engineRoute } from '../../routes.ts';
import { eventsOf } from './engine-streams.ts';
import { normalised } from './normalised-stream.ts';
import { canReplay, replayContinuation, withSeed } from '../replay.ts';
import { ReplayJournal } from '../replay-journal.ts';

const BODY = Buffer.from('{"prompt":"x","stream":true}');
const DATA_EVENT = /^(event: .*\n)?data: \{/;

/** What the client gets when the first stream is cut and the second one takes over; null when it does not fit. */
function continued(dialect: Dialect, sent: readonly Buffer[], again: readonly Buffer[]): Buffer | null {
  const journal = new ReplayJournal(dialect);
  for (const run of sent) journal.note(run);
  const { splicer } = replayContinuation(journal, BODY);
  const parts: Buffer[] = [...sent];
  for (const run of again) {
    const part = splicer.take(run);
    if (part === null) return null;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** A recording of the same answer with other ids, at another time. */
function otherRecording(dialect: Dialect, withProgress: string): Buffer {
  const filter = new ProgressFilter(dialect, false);
  let isDecoding = false;
  const parts = eventsOf(Buffer.from(withProgress)).map((event) => {
    if (isDecoding) return event;
    const left = filter.take(event);
    isDecoding = left.decoding;
    return left.events;
  });
  return Buffer.concat(parts);
}

for (const { name, dialect, stream, withProgress } of RECORDED_ANSWERS) {
  const first = eventsOf(Buffer.from(stream));
  const second = eventsOf(otherRecording(dialect, withProgress));

  test(`${name}: cut between any two events, the stream goes on`, () => {
    for (let cut = 0; cut <= first.length; cut += 1) {
      const whole = continued(dialect, first.slice(0, cut), second);
      assert.deepEqual(whole && normalised(whole), normalised(Buffer.from(stream)), `cut at ${cut}`);
    }
  });

  test(`${name}: it does not matter how the streams come in pieces`, () => {
    const cuts = fc.array(fc.nat({ max: stream.length }), { maxLength: 12 });
    fc.assert(
      fc.property(fc.nat({ max: first.length }), cuts, cuts, (cut, sentCuts, againCuts) => {
        const sent = runsOf(Buffer.concat(first.slice(0, cut)), sentCuts);
        const whole = continued(dialect, sent, runsOf(Buffer.concat(second), againCuts));
        assert.deepEqual(whole && normalised(whole), normalised(Buffer.from(stream)));
      }),
      { numRuns: 60 },
    );
  });

  test(`${name}: another token before the cut ends it, behind the cut it is the answer`, () => {
    // Any event but those that say nothing of their own.
    const changes = second
      .map((event, index) => ({ index, text: event.toString() }))
      .map(({ index, text }) => ({
        index,
        text,
        changed: text.replace(/"(content|text|delta|partial_json)":"/, '$&x'),
      }))
      .filter(({ text, changed }) => changed !== text);
    assert.ok(changes.length >= 4);
    for (const { index, changed } of changes) {
      const other = second.with(index, Buffer.from(changed));
      assert.equal(continued(dialect, first.slice(0, index + 1), other), null, `event ${index}`);
      const whole = continued(dialect, first.slice(0, index), other) ?? assert.fail(`event ${index}`);
      assert.deepEqual(normalised(whole), normalised(Buffer.concat(other)));
    }
  });

  test(`${name}: a second stream that ends too soon, or leaves an event out, does not fit`, () => {
    const sent = first.slice(0, 4);
    const last = second.filter((event) => DATA_EVENT.test(event.toString())).length - 1;
    const tooShort = [...second.slice(0, 2), ...second.slice(last)];
    assert.equal(continued(dialect, sent, tooShort), null);
    assert.equal(continued(dialect, sent, second.toSpliced(1, 1)), null);
  });

  test(`${name}: a stream that was continued can be continued again`, () => {
    const journal = new ReplayJournal(dialect);
    const client = first.slice(0, 2);
    for (const event of client) journal.note(event);
    const { splicer } = replayContinuation(journal, BODY);
    for (const event of second.slice(0, 5)) {
      const part = splicer.take(event) ?? assert.fail();
      journal.note(part);
      client.push(part);
    }
    const last = replayContinuation(journal, BODY).splicer.take(Buffer.from(stream)) ?? assert.fail();
    assert.deepEqual(normalised(Buffer.concat([...client, last])), normalised(Buffer.from(stream)));
  });

  test(`${name}: the journal knows the events and the finish`, () => {
    const journal = new ReplayJournal(dialect);
    const finishes = first.map((event) => {
      journal.note(event);
      return journal.finished;
    });
    assert.equal(journal.events, first.filter((event) => DATA_EVENT.test(event.toString())).length);
    const finish = /"(finish_reason|stop_reason)":"|"stop":true|"response.completed"/;
    const expected = first.findIndex((event) => finish.test(event.toString()));
    assert.equal(finishes.indexOf(true), expected);
    assert.ok(finishes.slice(expected).every(Boolean));
  });
}

test('progress that the caller asked for does not count', () => {
  for (const { name, dialect, stream, withProgress } of RECORDED_ANSWERS) {
    const asked = eventsOf(Buffer.from(withProgress));
    for (let cut = 1; cut <= asked.length; cut += 1) {
      const journal = new ReplayJournal(dialect, { wantsProgress: true });
      for (const event of asked.slice(0, cut)) journal.note(event);
      const rest = replayContinuation(journal, BODY).splicer.take(Buffer.from(withProgress));
      assert.ok(rest !== null, `${name}, cut at ${cut}`);
      const client = eventsOf(Buffer.concat([...asked.slice(0, cut), rest]));
      const seen = client.filter((event) => !event.includes('"prompt_progress"'));
      const plain = eventsOf(Buffer.from(stream)).filter((event) => !event.includes('response.in_progress'));
      assert.deepEqual(normalised(Buffer.concat(seen)), normalised(Buffer.concat(plain)), `${name}, cut at ${cut}`);
    }
  }
});

test('choices are compared each for itself, however they interleave', () => {
  const done = Buffer.from('data: [DONE]\n\n');
  const usage = Buffer.from('data: {"choices":[],"usage":{"prompt_tokens":3}}\n\n');
  const one = [chunk(0, 'a'), chunk(0, 'b'), chunk(0, '', 'stop'), usage];
  const two = [chunk(1, 'c'), chunk(1, 'd'), chunk(1, '', 'length'), usage];
  const interleaved = [0, 1, 2, 3].flatMap((at) => [one[at] as Buffer, two[at] as Buffer]);
  // An event of usage comes with the finish of its choice.
  const first = [...interleaved.slice(0, 4), ...one.slice(2), ...two.slice(2), done];
  const second = [...two, ...one, done];
  for (let cut = 0; cut < first.length; cut += 1) {
    const sent = first.slice(0, cut);
    const whole = continued('chat', sent, second) ?? assert.fail(`cut at ${cut}`);
    assert.deepEqual(normalised(whole), normalised(Buffer.concat(first)), `cut at ${cut}`);
  }
  assert.equal(continued('chat', first.slice(0, 4), [...two, chunk(0, 'a'), chunk(0, 'x')]), null);
  assert.equal(continued('chat', first.slice(0, 4), [...two, done]), null);
  const journal = new ReplayJournal('chat', { sequences: 2 });
  journal.note(Buffer.concat(one));
  assert.equal(journal.finished, false);
  journal.note(Buffer.concat(two));
  assert.equal(journal.finished, true);
});

test('it does not matter which of several choices comes first', () => {
  const journal = new ReplayJournal('chat', { sequences: 2 });
  for (const event of [named(0, 'a', 'first'), named(1, 'x', 'first')]) journal.note(event);
  const { splicer } = replayContinuation(journal, Buffer.from('{}'));
  const again = [named(1, 'x', 'second'), named(0, 'a', 'second'), named(1, 'y', 'second')];
  assert.equal(splicer.take(Buffer.concat(again))?.toString(), named(1, 'y', 'first').toString());
});

test('comments are let out once the stream has caught up', () => {
  const comment = Buffer.from(':\n\n');
  const [chat] = RECORDED_ANSWERS;
  const events = eventsOf(Buffer.from(chat?.stream ?? ''));
  const journal = new ReplayJournal('chat');
  journal.note(events[0] as Buffer);
  assert.equal(journal.events, 1);
  journal.note(comment);
  assert.equal(journal.events, 1);
  const { splicer, body } = replayContinuation(journal, BODY);
  assert.equal(body, BODY);
  assert.deepEqual(splicer.take(comment), Buffer.alloc(0));
  assert.deepEqual(splicer.take(events[0] as Buffer), Buffer.alloc(0));
  assert.deepEqual(splicer.take(comment), comment);
  const counts = { promptTokens: 3, completionTokens: 4, cachedTokens: 0 };
  assert.equal(splicer.usage(counts), counts);
});

test('once it differs, it stays so', () => {
  const [chat] = RECORDED_ANSWERS;
  const events = eventsOf(Buffer.from(chat?.stream ?? ''));
  const journal = new ReplayJournal('chat');
  journal.note(Buffer.concat(events.slice(0, 2)));
  const { splicer } = replayContinuation(journal, BODY);
  assert.equal(splicer.take(Buffer.concat([events[0] as Buffer, events[2] as Buffer])), null);
  assert.equal(splicer.take(events[3] as Buffer), null);
});

test('a seed is set behind what the body says of it', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['{}', '{"seed":7}'],
    ['{"a":1}', '{"a":1,"seed":7}'],
    ['{"seed":null} \n', '{"seed":null,"seed":7}'],
  ];
  for (const [body, expected] of cases) assert.equal(withSeed(Buffer.from(body), 7).toString(), expected);
});

test('what can be replayed', () => {
  const cases: readonly (readonly [string, Record<string, unknown>, boolean])[] = [
    ['POST /v1/chat/completions', {}, true],
    ['POST /v1/chat/completions', { n: 2 }, true],
    ['POST /v1/completions', { prompt: ['a', 'b'] }, true],
    ['POST /completion', {}, true],
    ['POST /infill', {}, true],
    ['POST /v1/responses', {}, true],
    ['POST /v1/responses', { n: 2 }, false],
    ['POST /v1/messages', {}, false],
    ['POST /v1/messages', { seed: 4 }, false],
    ['POST /v1/messages', { temperature: 0 }, true],
    ['POST /v1/messages', { temperature: 0.1 }, false],
    ['POST /v1/messages', { top_k: 1 }, true],
    ['POST /v1/embeddings', {}, false],
  ];
  for (const [route, fields, expected] of cases) {
    assert.equal(canReplay(engineRoute(route), fields), expected, `${route} ${JSON.stringify(fields)}`);
  }
});

function chunk(index: number, content: string, finish: string | null = null): Buffer {
  const choice = { finish_reason: finish, index, delta: { content } };
  return Buffer.from(`data: ${JSON.stringify({ choices: [choice] })}\n\n`);
}

/** A chunk with what stands behind its choice. */
function named(index: number, content: string, id: string): Buffer {
  const choices = [{ finish_reason: null, index, delta: { content } }];
  return Buffer.from(`data: ${JSON.stringify({ choices, created: 7, id, object: 'chat.completion.chunk' })}\n\n`);
}

/** The runs of whole events that a framer lets out when the stream comes in these pieces. */
function runsOf(stream: Buffer, cuts: readonly number[]): Buffer[] {
  const framer = new EventFramer();
  const runs: Buffer[] = [];
  const ends = [...cuts.filter((cut) => cut < stream.length), stream.length].toSorted((one, other) => one - other);
  let start = 0;
  for (const end of ends) {
    const framed = framer.push(stream.subarray(start, end));
    if (framed.kind === 'events') runs.push(framed.events);
    start = end;
  }
  return runs;
}
