import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RECORDED_ANSWERS } from '../../__tests__/recorded-answers.ts';
import { idsContinuation } from '../ids-continuation.ts';
import { IdsJournal } from '../ids-journal.ts';
import { textContinuation } from '../text-continuation.ts';
import { TextJournal } from '../text-journal.ts';

function noted<Journal extends { note(run: Buffer): void }>(journal: Journal, events: string): Journal {
  journal.note(Buffer.from(events));
  return journal;
}

function recorded(name: string) {
  return RECORDED_ANSWERS.find((answer) => answer.name === name) ?? assert.fail(name);
}

/** One event of `/completion`. */
function idEvent(content: string, id: number, position: number): string {
  const data = {
    index: 0,
    content,
    tokens: [id],
    stop: false,
    id_slot: -1,
    tokens_predicted: position,
    tokens_evaluated: 5,
  };
  return `data: ${JSON.stringify(data)}\n\n`;
}

function delta(fields: object, finish: string | null = null): string {
  return `data: ${JSON.stringify({ choices: [{ finish_reason: finish, index: 0, delta: fields }], created: 1, id: 'x' })}\n\n`;
}

test('ids are read out of recorded streams, with progress and without', () => {
  const { stream, withProgress, promptTokens } = recorded('completion');
  for (const run of [stream, withProgress]) {
    const journal = noted(new IdsJournal(), run);
    assert.equal(journal.asPrompt(), '378,10,272,257');
    assert.deepEqual(
      [journal.promptTokens, journal.shownTokens, journal.textLength, journal.hasNewLine, journal.finished],
      [promptTokens, 4, 8, true, true],
    );
    assert.equal(idsContinuation(journal, Buffer.from('{"prompt":"a"}')), null, 'nothing is left to do');
  }
});

test('ids of an engine that writes its members in another order are read as well', () => {
  const events = [7, 8].map((id, at) => `data: {"tokens":[${id}],"content":"é\\n","tokens_predicted":${at + 1}}\n\n`);
  const journal = noted(new IdsJournal(), events.join(''));
  assert.deepEqual([journal.asPrompt(), journal.textLength, journal.hasNewLine], ['7,8', 4, true]);
});

test('of an answer beyond all measure nothing is kept, and it does not go on', () => {
  const ids = new IdsJournal();
  for (let position = 1; position <= 65_536; position += 1) ids.note(Buffer.from(idEvent('a', 7, position)));
  const prompt = Buffer.from('{"prompt":"a"}');
  assert.ok(idsContinuation(ids, prompt) !== null);
  for (let position = 65_537; position <= 65_540; position += 1) ids.note(Buffer.from(idEvent('a', 7, position)));
  assert.deepEqual([ids.isWhole, ids.seenTokens, ids.events], [false, 0, 65_540]);
  assert.equal(idsContinuation(ids, prompt), null);

  const chat = Buffer.from('{"messages":[{"role":"user","content":"a"}]}');
  const text = new TextJournal('chat');
  const kilobyte = Buffer.from(delta({ content: 'x'.repeat(1024) }));
  for (let count = 0; count < 256; count += 1) text.note(kilobyte);
  assert.ok(textContinuation(text, chat, 'chat') !== null);
  text.note(kilobyte);
  assert.deepEqual([text.isPlain, text.text.length], [false, 0]);
  assert.equal(textContinuation(text, chat, 'chat'), null);
});

test('the length of text is that of a string', () => {
  for (const text of ['', 'abc', '"\\\n\t', 'é你🙂', '\u0001\u001f', '\ud83d']) {
    const journal = noted(new IdsJournal(), idEvent(text, 1, 1));
    assert.equal(journal.textLength, text.length, JSON.stringify(text));
  }
});

test('what was not shown is not built upon', () => {
  const journal = noted(new IdsJournal(), idEvent('a', 1, 1) + idEvent('', 2, 2) + idEvent('', 3, 3));
  assert.deepEqual([journal.asPrompt(), journal.shownTokens, [...journal.hiddenIds]], ['1', 1, [2, 3]]);
  noted(journal, idEvent('bcd', 4, 4));
  assert.deepEqual([journal.asPrompt(), journal.shownTokens, journal.isExact], ['1,2,3,4', 4, true]);
});

test('a continuation may go another way where nothing was shown', () => {
  const journal = noted(new IdsJournal(), idEvent('a', 1, 1) + idEvent('', 2, 2) + idEvent('', 3, 3));
  noted(journal, idEvent('x', 9, 2));
  assert.deepEqual([journal.asPrompt(), journal.isWhole], ['1,9', true]);
  noted(journal, idEvent('y', 9, 1));
  assert.equal(journal.isWhole, false, 'but not where something was');
});

test('text stands in for ids that no event told', () => {
  const journal = noted(
    new IdsJournal(),
    idEvent('a', 1, 1) + idEvent('é', 3, 3) + idEvent('🙂', 7, 7) + idEvent('b', 8, 8),
  );
  assert.deepEqual([journal.asPrompt(), journal.isExact], ['1,"é🙂",8', false]);
  const { body } = idsContinuation(journal, Buffer.from('{"prompt":"p","n_predict":10}'))!;
  assert.equal(body.toString(), '{"prompt":["p",1,"é🙂",8],"n_predict":10,"n_predict":2}');
});

test('text without any id is added to the text of the prompt', () => {
  const journal = noted(new IdsJournal(), idEvent('"é', 3, 3));
  for (const prompt of ['"p"', '["p"]']) {
    const { body } = idsContinuation(journal, Buffer.from(`{"prompt":${prompt}}`))!;
    assert.equal(body.toString(), '{"prompt":"p\\"é"}');
  }
});

test('prompts that are several, or more than text, are not continued by ids', () => {
  const journal = noted(new IdsJournal(), idEvent('a', 1, 1));
  const bodies = [
    '{"prompt":["a","b"]}',
    '{"prompt":{"prompt_string":"a"}}',
    '{"prompt":[[1,2]]}',
    '{"prompt":[]}',
    '{}',
    'x',
  ];
  for (const body of bodies) assert.equal(idsContinuation(journal, Buffer.from(body)), null, body);
});

test('text is read out of recorded streams, with progress and without', () => {
  for (const [name, dialect, text] of [
    ['chat', 'chat', 'be segi se'],
    ['chat-usage', 'chat', 'be segi se'],
    ['completions', 'completions', String.raw` li\ngebe`],
  ] as const) {
    const { stream, withProgress } = recorded(name);
    for (const run of [stream, withProgress]) {
      const journal = noted(new TextJournal(dialect), run);
      assert.equal(journal.text.view().toString(), text, name);
      assert.deepEqual(
        [journal.shownTokens, journal.finished, journal.ended, journal.isPlain],
        [4, true, true, true],
        name,
      );
      assert.equal(journal.hasUsage, name !== 'chat', name);
    }
  }
});

test('reasoning and content stay apart', () => {
  const events = delta({ role: 'assistant', content: null }) + delta({ reasoning_content: 'I "think"' });
  const journal = noted(new TextJournal('chat'), events);
  const body = Buffer.from('{"messages":[{"role":"user","content":"hi"}],"max_completion_tokens":9}');
  const asked = () => JSON.parse(textContinuation(journal, body, 'chat')!.body.toString()) as { messages: unknown[] };
  const user = { role: 'user', content: 'hi' };
  assert.deepEqual(asked(), {
    messages: [user, { role: 'assistant', content: '', reasoning_content: 'I "think"' }],
    max_completion_tokens: 9,
    continue_final_message: true,
    add_generation_prompt: false,
    n_predict: 8,
  });
  noted(journal, delta({ content: 'Well' }) + delta({ content: ',\n' }));
  const answer = { role: 'assistant', content: 'Well,\n', reasoning_content: 'I "think"' };
  assert.deepEqual(asked().messages, [user, answer]);
});

test('a stream with more than text is not continued behind it', () => {
  const role = delta({ role: 'assistant', content: null });
  const body = Buffer.from('{"messages":[{"role":"user","content":"hi"}]}');
  const cases: [events: string, isContinued: boolean][] = [
    [role + delta({ content: 'a' }), true],
    [role, true],
    ['', true],
    [role + delta({ tool_calls: [{ index: 0, function: { name: 'f' } }] }), false],
    [role + delta({ content: 'a' }).replace('"index":0', '"index":1'), false],
    [role + delta({}, 'length'), false],
    ['data: {"hello":1}\n\n', false],
  ];
  for (const [events, isContinued] of cases) {
    const continuation = textContinuation(noted(new TextJournal('chat'), events), body, 'chat');
    assert.equal(continuation !== null, isContinued, events);
  }
});
