import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { errorProblem, judgeStream } from '../judge-stream.ts';

const ERROR = { message: 'm', type: 'engine_error', param: null, code: 'stream_interrupted' };
const TOKEN = { choices: [{ delta: { content: 'bo' }, finish_reason: null }] };
const LAST = { choices: [{ delta: {}, finish_reason: 'length' }] };
const DONE = 'data: [DONE]\n\n';

describe('the judge of streams', () => {
  const chat: readonly [what: string, body: string, ending: string, problems: number][] = [
    ['a whole one', event(TOKEN) + event(LAST) + DONE, 'whole', 0],
    ['comments in between', `: heartbeat\n\n${event(TOKEN)}${event(LAST)}: queue position 2\n\n${DONE}`, 'whole', 0],
    ['an error event at the end', event(TOKEN) + event({ error: ERROR }), 'error', 0],
    ['a silent end', event(TOKEN), 'open', 0],
    ['[DONE] without a finish_reason', event(TOKEN) + DONE, 'whole', 1],
    ['an event after [DONE]', event(LAST) + DONE + event(TOKEN), 'whole', 1],
    ['[DONE] after an error', event({ error: ERROR }) + DONE, 'error', 1],
    ['a second error', event({ error: ERROR }) + event({ error: ERROR }), 'error', 1],
    ['half an event after the end', `${event(LAST)}${DONE}data: {`, 'whole', 1],
    ['an error with three keys', event({ error: { message: 'm', type: 't', code: 'c' } }), 'error', 1],
    ['an event that is no JSON', 'data: {"choices"\n\n', 'open', 1],
  ];
  for (const [what, body, ending, problems] of chat) {
    it(what, () => {
      const verdict = judgeStream('chat', body);
      assert.equal(verdict.ending, ending);
      assert.equal(verdict.problems.length, problems, verdict.problems.join('; '));
    });
  }

  it('knows how each dialect ends and carries its text', () => {
    const bodies = {
      completions: event({ choices: [{ text: 'bo', finish_reason: 'length' }] }) + DONE,
      completion: event({ content: 'bo', stop: false }) + event({ content: '', stop: true }),
      messages: event({ type: 'content_block_delta', delta: { text: 'bo' } }) + event({ type: 'message_stop' }),
      responses: event({ type: 'response.output_text.delta', delta: 'bo' }) + event({ type: 'response.completed' }),
    } as const;
    for (const dialect of ['completions', 'completion', 'messages', 'responses'] as const) {
      const { ending, text, problems } = judgeStream(dialect, bodies[dialect]);
      assert.deepEqual({ dialect, ending, text, problems }, { dialect, ending: 'whole', text: 'bo', problems: [] });
    }
  });

  it('wants errors in the form of the dialect', () => {
    const named = `event: error\n${event({ type: 'error', error: ERROR })}`;
    assert.deepEqual(judgeStream('messages', named).problems, []);
    assert.equal(judgeStream('messages', event({ error: ERROR })).problems.length, 1);
    assert.equal(judgeStream('chat', named).problems.length, 1);
  });

  it('wants all four keys of an error', () => {
    assert.equal(errorProblem(ERROR), null);
    assert.match(String(errorProblem({ ...ERROR, extra: 1 })), /keys/);
    assert.match(String(errorProblem({ ...ERROR, code: 7 })), /texts/);
    assert.match(String(errorProblem('broken')), /no object/);
  });
});

function event(data: unknown): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}
