import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { endsStream, withNotice } from '../budget-notice.ts';
import { EventFramer } from '../event-framer.ts';
import { RECORDED_ANSWERS } from './recorded-answers.ts';

describe('the event that explains the end of a budget', () => {
  for (const { name, dialect, stream } of RECORDED_ANSWERS) {
    const events = stream.split(/(?<=\n\n)/);

    it(`${name}: knows the last run of a stream`, () => {
      for (let cut = 1; cut < events.length; cut += 1) {
        assert.equal(endsStream(Buffer.from(events.slice(0, cut).join('')), dialect), false);
        assert.equal(endsStream(Buffer.from(events.slice(cut).join('')), dialect), true);
      }
    });

    it(`${name}: stands right before the last event, which stays the last`, () => {
      for (let cut = 0; cut < events.length; cut += 1) {
        const run = events.slice(cut).join('');
        const noticed = withNotice(Buffer.from(run), dialect, 'Used up.').toString();
        const last = events.at(-1) ?? '';
        const before = run.slice(0, run.length - last.length);
        assert.ok(noticed.startsWith(before) && noticed.endsWith(last), `a run of ${events.length - cut}`);
        const notice = noticed.slice(before.length, noticed.length - last.length);
        assert.match(notice, /^(event: \S+\n)?data: \{[^\n]*\}\n\n$/);
        const data = JSON.parse(/data: (.*)/.exec(notice)?.[1] ?? '') as Record<string, unknown>;
        assert.deepEqual(data['llamero'], { code: 'rate_limit_exceeded', message: 'Used up.' });
      }
    });

    it(`${name}: leaves a stream that is complete`, () => {
      const framer = new EventFramer();
      assert.equal(framer.push(withNotice(Buffer.from(stream), dialect, 'Used up.')).kind, 'events');
      assert.equal(framer.isComplete(dialect), true);
    });
  }

  it('is not set off by the text of a model', () => {
    const text = JSON.stringify({ content: '"stop":true data: [DONE] "type":"message_stop"', stop: false });
    for (const dialect of ['chat', 'completions', 'completion', 'messages', 'responses'] as const) {
      assert.equal(endsStream(Buffer.from(`data: ${text}\n\n`), dialect), false, dialect);
    }
  });
});
