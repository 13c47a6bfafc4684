import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { idsContinuation } from '../ids-continuation.ts';
import { IdsJournal } from '../ids-journal.ts';
import { dataOf, spliced, startStreamingEngine, type StreamingEngine } from './engine-streams.ts';

const DEADLINE = { timeout: 60_000 };
const PROMPT = 'sun moon star ';

let engine: StreamingEngine;
before(async () => {
  engine = await startStreamingEngine();
});
after(() => engine[Symbol.asyncDispose]());

const textOf = (events: readonly Buffer[]) =>
  dataOf(events)
    .map((event) => String(event['content']))
    .join('');
const positionsOf = (events: readonly Buffer[]) => dataOf(events).map((event) => event['tokens_predicted']);

function journalOf(events: readonly Buffer[]): IdsJournal {
  const journal = new IdsJournal();
  for (const event of events) journal.note(event);
  return journal;
}

/** Cuts the stream of `body` behind `cut` events, lets the engine go on, and gives what the client gets of both. */
async function cutAndContinue(body: Record<string, unknown>, whole: readonly Buffer[], cut: number) {
  const sent = whole.slice(0, cut);
  const journal = journalOf(sent);
  const continuation = idsContinuation(journal, Buffer.from(JSON.stringify(body)));
  assert.ok(continuation, `cut at ${cut}`);
  const answer = await engine.stream('/completion', continuation.body);
  return { client: [...sent, ...spliced(continuation.splicer, answer)], continuation, answer };
}

/** The final event without what differs from run to run. */
function finalOf(events: readonly Buffer[]): Record<string, unknown> {
  const { timings, ...final } = dataOf(events).at(-1) ?? {};
  const { prompt_n, cache_n, predicted_n } = timings as Record<string, number>;
  return { ...final, counts: { prompt: prompt_n! + cache_n!, predicted_n } };
}

/** All but the final event; the one in which a stop string was found carries timings. */
function withoutTimings(events: readonly Buffer[]): Record<string, unknown>[] {
  return dataOf(events.slice(0, -1)).map(({ timings: _timings, ...event }) => event);
}

const REQUESTS: [name: string, body: Record<string, unknown>][] = [
  ['text', { prompt: PROMPT, n_predict: 24 }],
  ['text and ids', { prompt: [PROMPT, 300, 301], n_predict: 12 }],
  ['ids', { prompt: [437, 300, 301], n_predict: 12 }],
  ['a list with one text', { prompt: [PROMPT], n_predict: 12 }],
  ['text with characters to escape', { prompt: '"sun"\n\\ 你🙂 \u0001', n_predict: 12 }],
  ['penalties over what was generated', { prompt: PROMPT, n_predict: 24, repeat_penalty: 1.8, presence_penalty: 1 }],
  ['other samplers', { prompt: PROMPT, n_predict: 12, dry_multiplier: 2, dry_allowed_length: 1 }],
  ['max_tokens', { prompt: PROMPT, max_tokens: 12, response_fields: [] }],
];

describe('a stream of /completion that is cut behind any of its tokens', () => {
  for (const [name, fields] of REQUESTS) {
    it(`is continued to the same end: ${name}`, DEADLINE, async () => {
      const body = { ...fields, stream: true, temperature: 0 };
      const whole = await engine.stream('/completion', body);
      for (let cut = 0; cut < whole.length; cut += 1) {
        const { client } = await cutAndContinue(body, whole, cut);
        assert.equal(textOf(client), textOf(whole), `cut at ${cut}`);
        assert.deepEqual(positionsOf(client), positionsOf(whole), `cut at ${cut}`);
        assert.deepEqual(finalOf(client), finalOf(whole), `cut at ${cut}`);
        for (const [at, event] of client.slice(0, -1).entries()) {
          assert.equal(event.toString(), whole[at]?.toString(), `cut at ${cut}`);
        }
      }
    });
  }

  it('ends at a stop string that straddles the cut, and never shows the beginning of one', DEADLINE, async () => {
    const plain = { prompt: PROMPT, n_predict: 24, stream: true, temperature: 0 };
    const texts = dataOf(await engine.stream('/completion', plain)).map((event) => String(event['content']));
    const stop = texts.slice(9, 13).join('');
    const body = { ...plain, stop: [stop] };
    const whole = await engine.stream('/completion', body);
    assert.ok(dataOf(whole).filter((event) => event['content'] === '').length >= 3, 'tokens were held back');
    for (let cut = 0; cut < whole.length; cut += 1) {
      const { client } = await cutAndContinue(body, whole, cut);
      assert.deepEqual(withoutTimings(client), withoutTimings(whole), `cut at ${cut}`);
      assert.deepEqual(finalOf(client), finalOf(whole), `cut at ${cut}`);
    }
  });

  it('ends at a stop string that was found in a token whose beginning was shown', DEADLINE, async () => {
    const plain = { prompt: PROMPT, n_predict: 24, stream: true, temperature: 0 };
    const ninth = dataOf(await engine.stream('/completion', plain)).map((event) => String(event['content']))[8] ?? '';
    const body = { ...plain, stop: ninth.slice(-1) };
    const whole = await engine.stream('/completion', body);
    assert.equal(dataOf(whole).at(-1)?.['stop_type'], 'word');
    assert.match(String(dataOf(whole).at(-2)?.['content']), /^.$/);
    for (let cut = 0; cut < whole.length; cut += 1) {
      const { client } = await cutAndContinue(body, whole, cut);
      assert.deepEqual(withoutTimings(client), withoutTimings(whole), `cut at ${cut}`);
      assert.deepEqual(finalOf(client), finalOf(whole), `cut at ${cut}`);
    }
  });

  it('survives a second death, and one of the continuation itself', DEADLINE, async () => {
    const body = { prompt: PROMPT, n_predict: 16, stream: true, temperature: 0 };
    const whole = await engine.stream('/completion', body);
    for (const [first, second] of [
      [3, 0],
      [3, 4],
      [0, 5],
      [10, 5],
    ] as const) {
      const { client } = await cutAndContinue(body, whole, first);
      const journal = journalOf(client.slice(0, first + second));
      const continuation = idsContinuation(journal, Buffer.from(JSON.stringify(body)));
      const rest = spliced(continuation!.splicer, await engine.stream('/completion', continuation!.body));
      const seen = [...client.slice(0, first + second), ...rest];
      assert.deepEqual(seen.map(String).slice(0, -1), whole.map(String).slice(0, -1), `${first} and ${second}`);
      assert.deepEqual(finalOf(seen), finalOf(whole), `${first} and ${second}`);
    }
  });

  it('goes on behind characters of several tokens, whose ids are in no event', DEADLINE, async () => {
    // The vocabulary has no token for é, and none of its bytes is likely. The grammar has one state, so that it may start anew.
    const sampling = { temperature: 1.5, top_k: 0, top_p: 1, min_p: 0, logit_bias: [[0xc3, 14]], seed: 7 };
    const body = { prompt: PROMPT, n_predict: 40, stream: true, grammar: 'root ::= ("é" | "z")+', ...sampling };
    const whole = await engine.stream('/completion', body);
    assert.match(textOf(whole), /éz+é/);
    for (let cut = 1; cut < whole.length; cut += 1) {
      const journal = journalOf(whole.slice(0, cut));
      const { client, answer } = await cutAndContinue(body, whole, cut);
      const [first] = dataOf(answer);
      // With all 40 shown only the end is asked for.
      const again = journal.shownTokens < 40 ? journal.shownTokens : 0;
      assert.equal(first?.['tokens_evaluated'], journal.promptTokens! + again, `the same tokens again, cut at ${cut}`);
      assert.match(textOf(client), /^[éz]+$/);
      assert.equal(finalOf(client)['tokens_predicted'], 40);
      assert.equal(finalOf(client)['prompt'], finalOf(whole)['prompt']);
    }
    const broken = journalOf(whole.slice(0, -1));
    assert.equal(broken.isExact, false);
    assert.equal(idsContinuation(broken, Buffer.from(JSON.stringify(body)), { exact: true }), null);
  });

  it('tells the tokens of the whole', DEADLINE, async () => {
    const body = { prompt: PROMPT, n_predict: 10, stream: true, temperature: 0 };
    const whole = await engine.stream('/completion', body);
    const promptTokens = Number(dataOf(whole)[0]?.['tokens_evaluated']);
    for (const cut of [0, 4, 10]) {
      const { continuation, answer } = await cutAndContinue(body, whole, cut);
      const { tokens_evaluated, tokens_predicted } = dataOf(answer).at(-1) ?? {};
      const part = {
        promptTokens: Number(tokens_evaluated),
        completionTokens: Number(tokens_predicted),
        cachedTokens: 3,
      };
      assert.deepEqual(continuation.splicer.usage(part), { promptTokens, completionTokens: 10, cachedTokens: 0 });
      assert.equal(continuation.splicer.usage(null), null);
    }
  });
});
