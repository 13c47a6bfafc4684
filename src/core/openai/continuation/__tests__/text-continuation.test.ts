import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { tokenCountsOf } from '../../usage.ts';
import { formalEnd, textContinuation } from '../text-continuation.ts';
import { type TextDialect, TextJournal } from '../text-journal.ts';
import { dataOf, eventsOf, spliced, startStreamingEngine, type StreamingEngine } from './engine-streams.ts';

const DEADLINE = { timeout: 60_000 };
const LENGTH = 24;
const ROUTES: Record<TextDialect, string> = { chat: '/v1/chat/completions', completions: '/v1/completions' };
const GREEDY = { stream: true, temperature: 0 };
const BODIES: Record<TextDialect, Record<string, unknown>> = {
  chat: { messages: [{ role: 'user', content: 'sun "moon" 你' }], ...GREEDY },
  completions: { prompt: 'sun "moon" 你', ...GREEDY },
};
const DIALECTS = Object.keys(ROUTES) as TextDialect[];

let engine: StreamingEngine;
before(async () => {
  engine = await startStreamingEngine();
});
after(() => engine[Symbol.asyncDispose]());

interface Choice {
  text?: string;
  finish_reason: string | null;
  delta?: { role?: string; content?: string | null; reasoning_content?: string };
}

const choicesOf = (events: readonly Buffer[]) => dataOf(events).flatMap((event) => event['choices'] as Choice[]);
const textOf = (events: readonly Buffer[]) =>
  choicesOf(events)
    .map((choice) => choice.text ?? choice.delta?.content ?? '')
    .join('');
const reasoningOf = (events: readonly Buffer[]) =>
  choicesOf(events)
    .map((choice) => choice.delta?.reasoning_content ?? '')
    .join('');
const finishesOf = (events: readonly Buffer[]) =>
  choicesOf(events)
    .map((choice) => choice.finish_reason)
    .filter((reason) => reason !== null);

function journalOf(dialect: TextDialect, events: readonly Buffer[]): TextJournal {
  const journal = new TextJournal(dialect);
  for (const event of events) journal.note(event);
  return journal;
}

/** What must be true of every stream that a client gets, cut or not. */
function assertOneStream(
  dialect: TextDialect,
  client: readonly Buffer[],
  whole: readonly Buffer[],
  where: string,
): void {
  const roles = choicesOf(client).filter((choice) => choice.delta?.role !== undefined);
  assert.equal(roles.length, dialect === 'chat' ? 1 : 0, `roles, ${where}`);
  assert.deepEqual(finishesOf(client), finishesOf(whole), `finishes, ${where}`);
  assert.deepEqual(
    client.filter((event) => event.includes('[DONE]')),
    client.slice(-1),
    `ends, ${where}`,
  );
  for (const key of ['id', 'created', 'model', 'object']) {
    assert.equal(new Set(dataOf(client).map((event) => event[key])).size, 1, `${key}, ${where}`);
  }
}

/** The last chunk with counts of tokens: these, and what else it has. */
function countsOf(events: readonly Buffer[]): unknown {
  const chunk = dataOf(events).findLast((event) => tokenCountsOf(event) !== null) ?? {};
  const { promptTokens, completionTokens } = tokenCountsOf(chunk) ?? {};
  return { promptTokens, completionTokens, members: Object.keys(chunk) };
}

describe('a stream of text that is cut', () => {
  for (const dialect of DIALECTS) {
    it(`goes on behind what was shown: ${dialect}`, DEADLINE, async (t) => {
      const body = { ...BODIES[dialect], max_tokens: LENGTH, stream_options: { include_usage: true } };
      const original = Buffer.from(JSON.stringify(body));
      const whole = await engine.stream(ROUTES[dialect], original);
      const { promptTokens } = tokenCountsOf(dataOf(whole).at(-1))!;
      let equal = 0;
      let cuts = 0;
      for (let cut = 0; cut < whole.length; cut += 3) {
        const sent = whole.slice(0, cut);
        const journal = journalOf(dialect, sent);
        if (journal.finished) continue;
        const where = `cut at ${cut}`;
        const continuation = textContinuation(journal, original, dialect, { promptTokens });
        assert.ok(continuation, where);
        const answer = await engine.stream(ROUTES[dialect], continuation.body);
        const client = [...sent, ...spliced(continuation.splicer, answer)];
        assertOneStream(dialect, client, whole, where);
        assert.deepEqual(countsOf(client), countsOf(whole), where);
        const isSpent = journal.shownTokens === LENGTH;
        assert.equal(textOf(client), textOf(sent) + (isSpent ? '' : textOf(answer)), `nothing at the seam, ${where}`);
        const part = tokenCountsOf(dataOf(answer).at(-1));
        const usage = continuation.splicer.usage(part);
        assert.deepEqual(usage, { promptTokens, completionTokens: LENGTH, cachedTokens: 0 }, where);
        cuts += 1;
        equal += textOf(client) === textOf(whole) ? 1 : 0;
      }
      t.diagnostic(`${equal} of ${cuts} equal the uninterrupted answer`);
      assert.ok(cuts >= 8);
    });

    it(
      `ends at a stop string that straddles the cut, and never shows the beginning of one: ${dialect}`,
      DEADLINE,
      async () => {
        const plain = { ...BODIES[dialect], max_tokens: LENGTH };
        const shown = choicesOf(await engine.stream(ROUTES[dialect], Buffer.from(JSON.stringify(plain))))
          .map((choice) => choice.text ?? choice.delta?.content ?? '')
          .filter((text) => text !== '');
        // Behind the beginning of a token, so that one event shows that beginning and ends at once.
        const straddling = shown.slice(9, 12).join('').slice(1);
        for (const stop of [straddling, shown[9]!.slice(-1)]) {
          const original = Buffer.from(JSON.stringify({ ...plain, stop: [stop, 'unused'] }));
          const whole = await engine.stream(ROUTES[dialect], original);
          assert.deepEqual(finishesOf(whole), ['stop']);
          for (let cut = 0; cut < whole.length; cut += 1) {
            const sent = whole.slice(0, cut);
            const journal = journalOf(dialect, sent);
            assert.ok(!textOf(sent).includes(stop) && !textOf(sent).endsWith(stop.slice(0, 2)), `cut at ${cut}`);
            if (journal.finished) continue;
            const continuation = textContinuation(journal, original, dialect);
            const answer = await engine.stream(ROUTES[dialect], continuation!.body);
            const client = [...sent, ...spliced(continuation!.splicer, answer)];
            assert.equal(textOf(client), textOf(whole), `cut at ${cut} of ${JSON.stringify(stop)}`);
            assertOneStream(dialect, client, whole, `cut at ${cut}`);
          }
        }
      },
    );

    it(`survives a second death, and one of the continuation itself: ${dialect}`, DEADLINE, async () => {
      const original = Buffer.from(JSON.stringify({ ...BODIES[dialect], max_tokens: LENGTH }));
      const whole = await engine.stream(ROUTES[dialect], original);
      const { promptTokens } = tokenCountsOf(dataOf(whole).at(-1))!;
      for (const [first, second] of [
        [4, 0],
        [4, 5],
        [0, 6],
      ] as const) {
        let client = whole.slice(0, first);
        for (const length of [first + second, undefined]) {
          const continuation = textContinuation(journalOf(dialect, client), original, dialect, { promptTokens });
          const answer = await engine.stream(ROUTES[dialect], continuation!.body);
          client = [...client, ...spliced(continuation!.splicer, answer)].slice(0, length);
        }
        assertOneStream(dialect, client, whole, `${first} and ${second}`);
        assert.deepEqual(countsOf(client), countsOf(whole), `${first} and ${second}`);
        assert.ok(textOf(client).startsWith(textOf(whole.slice(0, first))));
      }
    });

    it(`never ends within a character: ${dialect}`, DEADLINE, async () => {
      // The vocabulary has no token for é, and none of its bytes is likely.
      const sampling = { temperature: 1.5, top_k: 0, top_p: 1, min_p: 0, logit_bias: [[0xc3, 14]], seed: 7 };
      const unshaped = { ...BODIES[dialect], ...sampling, max_tokens: 40 };
      const shaped = { ...unshaped, grammar: 'root ::= ("é" | "z")+' };
      const whole = await engine.stream(ROUTES[dialect], Buffer.from(JSON.stringify(shaped)));
      assert.match(textOf(whole), /^[éz]*é[éz]*$/);
      assert.ok(choicesOf(whole).length < 40, 'a token without an event');
      for (let cut = 0; cut < whole.length; cut += 4) {
        const journal = journalOf(dialect, whole.slice(0, cut));
        if (journal.finished) continue;
        const continuation = textContinuation(journal, Buffer.from(JSON.stringify(unshaped)), dialect);
        const asked = JSON.parse(continuation!.body.toString()) as {
          prompt?: string;
          messages?: { content: string }[];
        };
        const shownText = textOf(whole.slice(0, cut));
        const expected =
          dialect === 'chat' && cut > 1 ? shownText : `${String(BODIES['completions']['prompt'])}${shownText}`;
        if (cut > 1) assert.equal(asked.prompt ?? asked.messages?.at(-1)?.content, expected, `cut at ${cut}`);
      }
    });

    it(`is ended without an engine where only its formal end is missing: ${dialect}`, DEADLINE, async () => {
      for (const stream_options of [undefined, { include_usage: true }]) {
        const original = Buffer.from(JSON.stringify({ ...BODIES[dialect], max_tokens: 3, stream_options }));
        const whole = await engine.stream(ROUTES[dialect], original);
        const { promptTokens, cachedTokens } = tokenCountsOf(dataOf(whole).at(-1))!;
        const finish = whole.findIndex((event) => finishesOf([event]).length > 0);
        for (let cut = finish + 1; cut <= whole.length; cut += 1) {
          const sent = whole.slice(0, cut);
          const journal = journalOf(dialect, sent);
          assert.ok(journal.finished);
          assert.equal(textContinuation(journal, original, dialect), null);
          const client = [...sent, ...eventsOf(formalEnd(journal, original, { promptTokens, cachedTokens }))];
          assertOneStream(dialect, client, whole, `cut at ${cut}`);
          // Timings are no part of it: nobody has told them.
          const last = dataOf(client).findLast((event) => event['usage'] !== undefined);
          const expected = dataOf(whole).findLast((event) => event['usage'] !== undefined);
          assert.deepEqual(last?.['usage'], expected?.['usage'], `cut at ${cut}`);
        }
      }
    });
  }
});

/** The answer of this one begins with reasoning. */
const THINKING_TEMPLATE = `{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.reasoning_content -%}{{ '<think>' + message.reasoning_content + '</think>' }}{%- endif -%}
{{ message.content + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n<think>' }}{%- endif -%}`;

it('reasoning goes on as reasoning, and content behind it as content', DEADLINE, async () => {
  await using thinking = await startStreamingEngine(448, 1, ['--chat-template', THINKING_TEMPLATE]);
  const original = Buffer.from(JSON.stringify({ ...BODIES.chat, max_tokens: 12 }));
  const whole = await thinking.stream(ROUTES.chat, original);
  assert.ok(reasoningOf(whole).length > 12);
  for (const cut of [1, 4, 8]) {
    const sent = whole.slice(0, cut);
    const continuation = textContinuation(journalOf('chat', sent), original, 'chat');
    const client = [...sent, ...spliced(continuation!.splicer, await thinking.stream(ROUTES.chat, continuation!.body))];
    assert.deepEqual([reasoningOf(client), textOf(client)], [reasoningOf(whole), ''], `cut at ${cut}`);
    assertOneStream('chat', client, whole, `cut at ${cut}`);
  }
  const [first] = dataOf(whole);
  const content = { ...first, choices: [{ finish_reason: null, index: 0, delta: { content: 'su' } }] };
  const sent = [...whole.slice(0, 5), Buffer.from(`data: ${JSON.stringify(content)}\n\n`)];
  const continuation = textContinuation(journalOf('chat', sent), original, 'chat');
  const rest = spliced(continuation!.splicer, await thinking.stream(ROUTES.chat, continuation!.body));
  assert.equal(reasoningOf(rest), '');
  assert.ok(textOf(rest).length > 6);
});
