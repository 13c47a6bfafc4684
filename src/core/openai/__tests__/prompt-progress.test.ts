import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ProgressFilter, type PromptProgress } from '../prompt-progress.ts';
import { RECORDED_ANSWERS } from './recorded-answers.ts';

/** A stream as its client sees it, apart from what differs from run to run: ids, times and slots. */
function normalised(stream: string): string {
  return stream
    .replaceAll(/"(chatcmpl-|resp_|msg_|rs_)\w+"/g, '"$1"')
    .replaceAll(/"(created|created_at|completed_at|id_slot)":\d+/g, '"$1":0')
    .replaceAll(/"(\w+_ms|\w+_per_second)":[\d.e+-]+/g, '"$1":0');
}

function eventsOf(stream: string): string[] {
  return stream.split(/(?<=\n\n)/);
}

/** What comes out of runs of events, as an exchange uses the filter: no longer than it asks for. */
function filtered(runs: readonly string[], filter: ProgressFilter) {
  let seen = '';
  let decoding = false;
  const progress: PromptProgress[] = [];
  for (const run of runs) {
    if (decoding) {
      seen += run;
      continue;
    }
    const taken = filter.take(Buffer.from(run));
    seen += taken.events.toString();
    if (taken.progress !== null) progress.push(taken.progress);
    ({ decoding } = taken);
  }
  return { seen, progress, decoding };
}

describe('progress of the prompt, taken out of a stream', () => {
  for (const { name, dialect, stream, withProgress, promptTokens } of RECORDED_ANSWERS) {
    const events = eventsOf(withProgress);
    const cuts: string[][] = [[withProgress], events];
    for (let cut = 1; cut < events.length; cut += 1) {
      cuts.push([events.slice(0, cut).join(''), events.slice(cut).join('')]);
      cuts.push([...events.slice(0, cut), events.slice(cut).join('')]);
      cuts.push([events.slice(0, cut).join(''), ...events.slice(cut)]);
    }

    it(`${name}: leaves what the same request streams without it, however the run is cut`, () => {
      for (const runs of cuts) {
        const { seen, decoding } = filtered(runs, new ProgressFilter(dialect, false));
        assert.equal(
          normalised(seen),
          normalised(stream),
          `in ${runs.length} runs, the first of ${runs[0]?.length} bytes`,
        );
        assert.equal(decoding, true);
      }
    });

    it(`${name}: leaves a stream without it as it is, uncopied`, () => {
      const run = Buffer.from(stream);
      const { events: left, progress } = new ProgressFilter(dialect, false).take(run);
      assert.ok(left === run || dialect === 'responses');
      assert.equal(left.toString(), stream);
      assert.equal(progress, null);
      for (const runs of [eventsOf(stream)]) {
        assert.equal(filtered(runs, new ProgressFilter(dialect, false)).seen, stream);
      }
    });

    it(`${name}: keeps it for a caller who asked for it`, () => {
      for (const runs of cuts) assert.equal(filtered(runs, new ProgressFilter(dialect, true)).seen, withProgress);
    });

    // The translation of Anthropic's dialect knows no progress.
    if (dialect === 'messages') continue;
    it(`${name}: tells how far the engine is, up to the whole prompt`, () => {
      const { progress } = filtered(events, new ProgressFilter(dialect, false));
      assert.ok(progress.length >= 2);
      const processed = progress.map((one) => one.processed);
      assert.deepEqual(
        processed,
        processed.toSorted((a, b) => a - b),
      );
      assert.deepEqual(progress.at(-1), { total: promptTokens, cached: 0, processed: promptTokens });
      const [latest] = filtered([withProgress], new ProgressFilter(dialect, false)).progress;
      assert.deepEqual(latest, progress.at(-1), 'of one run the latest');
    });
  }

  it('holds back the opening of a response until there is a token, as the engine does without progress', () => {
    const recorded = RECORDED_ANSWERS.find(({ name }) => name === 'responses');
    const filter = new ProgressFilter('responses', false);
    for (const event of eventsOf(recorded?.withProgress ?? '').slice(0, 5)) {
      const { events, decoding } = filter.take(Buffer.from(event));
      assert.deepEqual([events.toString(), decoding], ['', false], event);
    }
  });

  it('drops the comments between them, and goes on', () => {
    const [chat = ''] = RECORDED_ANSWERS.filter(({ name }) => name === 'chat').map((answer) => answer.withProgress);
    const pinged = eventsOf(chat).flatMap((event) => [':\n\n', event]);
    const { seen } = filtered(pinged, new ProgressFilter('chat', false));
    assert.ok(!seen.slice(0, seen.indexOf('"content":"')).includes(':\n\n:'));
    assert.ok(!seen.includes('prompt_progress'));
  });

  it('does not take text of the model for it', () => {
    const event = `data: ${JSON.stringify({ choices: [{ delta: { content: '"prompt_progress":{"total":1}' } }] })}\n\n`;
    const { events, progress, decoding } = new ProgressFilter('chat', false).take(Buffer.from(event));
    assert.deepEqual([events.toString(), progress, decoding], [event, null, true]);
  });

  it('takes it out where lines end as in Windows', () => {
    const one = 'data: {"choices":[],"prompt_progress":{"total":9,"cache":2,"processed":4,"time_ms":1}}\r\n\r\n';
    const token = 'data: {"choices":[{"delta":{"content":"x"}}]}\r\n\r\n';
    const { events, progress } = new ProgressFilter('chat', false).take(Buffer.from(one + one + token));
    assert.equal(events.toString(), token);
    assert.deepEqual(progress, { total: 9, cached: 2, processed: 4 });
  });
});
