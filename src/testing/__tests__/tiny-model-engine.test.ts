import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { writeTinyModel, type TinyModelFacts } from '../index.ts';
import { call, callJson, frames, startRealServer, temporaryDirectory } from './servers.ts';

const DEADLINE = { timeout: 60_000 };

interface Completion {
  readonly content: string;
  readonly tokens: number[];
  readonly tokens_predicted: number;
  readonly timings: { readonly predicted_per_second: number };
}

interface Chat {
  readonly choices: ReadonlyArray<{
    readonly finish_reason: string;
    readonly message: { content: string; tool_calls?: Array<{ function: { name: string; arguments: string } }> };
  }>;
}

const weatherTool = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Weather of a city',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};
const question = [{ role: 'user', content: 'What is the weather in Paris?' }];

/** Cosine of the angle between two unit vectors. */
function similarity(x: number[] = [], y: number[] = []): number {
  return x.reduce((sum, value, index) => sum + value * (y[index] ?? 0), 0);
}

describe('tiny model in the real llama-server', DEADLINE, () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let server: Awaited<ReturnType<typeof startRealServer>>;
  let facts: TinyModelFacts;

  before(async () => {
    directory = await temporaryDirectory();
    facts = await writeTinyModel(join(directory.path, 'tiny.gguf'));
    server = await startRealServer(facts.path, ['-t', '1', '-np', '2', '-c', '8192', '--embeddings', '--kv-unified']);
  }, DEADLINE);
  after(async () => {
    await server?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  const complete = (fields: object): Promise<Completion> =>
    callJson<Completion>(server, '/completion', {
      temperature: 0,
      return_tokens: true,
      cache_prompt: false,
      ...fields,
    });
  const chat = async (fields: object): Promise<Chat['choices'][number]> => {
    const answer = await callJson<Chat>(server, '/v1/chat/completions', { messages: question, ...fields });
    return answer.choices[0]!;
  };

  const embed = async (input: readonly string[]): Promise<number[][]> => {
    const { data } = await callJson<{ data: Array<{ embedding: number[] }> }>(server, '/v1/embeddings', { input });
    return data.map(({ embedding }) => embedding);
  };

  it('loads with the facts it reported', async () => {
    const props = await callJson<{
      total_slots: number;
      chat_template: string;
      default_generation_settings: { n_ctx: number };
    }>(server, '/props');
    assert.equal(props.total_slots, 2);
    assert.equal(props.default_generation_settings.n_ctx, 8192);
    assert.equal(props.chat_template, facts.chatTemplate);
    const models = await callJson<{ data: Array<{ meta: Record<string, number> }> }>(server, '/v1/models');
    const meta = models.data[0]!.meta;
    assert.deepEqual(
      {
        vocabulary: meta['n_vocab'],
        context: meta['n_ctx_train'],
        embedding: meta['n_embd'],
        parameters: meta['n_params'],
      },
      {
        vocabulary: facts.vocabulary,
        context: facts.context,
        embedding: facts.embedding,
        parameters: facts.parameters,
      },
    );
  });

  it('writes the same readable text on every greedy run, as long as asked, without a cycle', async () => {
    const runs = [];
    for (let run = 0; run < 3; run += 1) runs.push(await complete({ prompt: 'Hello', n_predict: 500 }));
    const [first] = runs;
    assert.ok(first !== undefined && runs.every((run) => run.content === first.content));
    assert.equal(first.tokens_predicted, 500);
    assert.doesNotMatch(first.content, /[\p{Cc}\uFFFD]/u);
    const words = first.content.split(' ');
    assert.ok(new Set(words).size > words.length / 3, 'the text repeats itself');
  });

  it('never stops early by chance', async () => {
    for (const temperature of [0.8, 1.5]) {
      for (let seed = 1; seed <= 3; seed += 1) {
        const { content, tokens_predicted: count } = await complete({ prompt: 'x', n_predict: 300, temperature, seed });
        assert.equal(count, 300);
        assert.doesNotMatch(content, /\uFFFD/u);
      }
    }
  });

  it('continues from token ids exactly where a greedy run was cut', async () => {
    const whole = await complete({ prompt: 'Once', n_predict: 40 });
    for (const cut of [1, 13, 39]) {
      const rest = await complete({ prompt: ['Once', ...whole.tokens.slice(0, cut)], n_predict: 40 - cut });
      assert.deepEqual(rest.tokens, whole.tokens.slice(cut));
    }
  });

  it('brings every text back from its tokens', async () => {
    const texts = [
      '',
      ' ',
      'Ünïcødé 🦙👩‍👩‍👧 "quotes"\n\t ▁x  double  . , trailing ',
      '\u0000\u0001\u007F',
      '你好 नमस्ते',
      '<tools> is a tag',
    ];
    for (const content of texts) {
      const { tokens } = await callJson<{ tokens: number[] }>(server, '/tokenize', { content });
      assert.deepEqual(await callJson(server, '/detokenize', { tokens }), { content });
    }
  });

  it('mostly writes canonical token sequences', async () => {
    const { content, tokens } = await complete({ prompt: 'Hello', n_predict: 200 });
    const again = await callJson<{ tokens: number[] }>(server, '/tokenize', { content });
    const same = again.tokens.filter((token, index) => token === tokens[index]).length;
    assert.ok(same > 150, `${same} of 200 tokens are the same`);
  });

  it('streams chats to their end', async () => {
    const { text } = await call(server, '/v1/chat/completions', { messages: question, max_tokens: 20, stream: true });
    const events = frames(text);
    assert.equal(events.at(-1), '[DONE]');
    assert.match(events.at(-2) ?? '', /"finish_reason":"length"/);
  });

  it('fills a JSON schema and ends', async () => {
    const schema = {
      type: 'object',
      properties: {
        subject: { type: 'string' },
        recipients: { type: 'array', items: { type: 'string' } },
        urgent: { type: 'boolean' },
      },
      required: ['subject', 'recipients', 'urgent'],
    };
    for (let seed = 1; seed <= 4; seed += 1) {
      const format = { type: 'json_schema', json_schema: { name: 'email', schema } };
      const { finish_reason: reason, message } = await chat({ response_format: format, max_tokens: 1500, seed });
      assert.equal(reason, 'stop');
      assert.deepEqual(Object.keys(JSON.parse(message.content) as object), ['subject', 'recipients', 'urgent']);
    }
  });

  it('follows a grammar', async () => {
    const { content } = await complete({ prompt: 'x', grammar: 'root ::= ("yes" | "no") " " [0-9]{3}', n_predict: 20 });
    assert.match(content, /^(yes|no) \d{3}$/);
  });

  it('calls a tool when there is one, and answers in text after its result', async () => {
    for (const choice of ['auto', 'required']) {
      const { finish_reason: reason, message } = await chat({
        tools: [weatherTool],
        tool_choice: choice,
        max_tokens: 1500,
        seed: 1,
      });
      assert.equal(reason, 'tool_calls');
      const [tool] = message.tool_calls ?? [];
      assert.equal(tool?.function.name, 'get_weather');
      assert.deepEqual(Object.keys(JSON.parse(tool.function.arguments) as object), ['city']);
    }
    const called = {
      role: 'assistant',
      content: null,
      tool_calls: [{ id: 'a', type: 'function', function: { name: 'get_weather', arguments: '{"city":"Paris"}' } }],
    };
    const messages = [...question, called, { role: 'tool', tool_call_id: 'a', content: 'sunny' }];
    const { message } = await chat({ messages, tools: [weatherTool], max_tokens: 20 });
    assert.ok(message.content.length > 0);
    assert.equal(message.tool_calls, undefined);
  });

  it('embeds in the same process that chats: like texts near, unlike ones far', async () => {
    const input = ['bada fuse nilo', 'bada fuse nilo pe', 'zz 99 ??'];
    const [chatting, together] = await Promise.all([complete({ prompt: 'Hello', n_predict: 100 }), embed(input)]);
    assert.equal(chatting.tokens_predicted, 100);
    const [a = [], b = [], c = []] = together;
    assert.equal(a.length, facts.embedding);
    assert.ok(similarity(a, b) > 0.9 && similarity(a, c) < 0.7, `${similarity(a, b)} ${similarity(a, c)}`);
    // Inputs that are worked on together must not change each other: with mean pooling they do without --kv-unified.
    for (const [index, text] of input.entries()) {
      const [alone] = await embed([text]);
      assert.ok(similarity(alone, together[index]) > 0.999, text);
    }
  });

  it('fills in the middle', async () => {
    const { content } = await callJson<Completion>(server, '/infill', {
      input_prefix: 'a',
      input_suffix: 'b',
      n_predict: 5,
    });
    assert.ok(content.length > 0);
  });
});

describe('slow preset in the real llama-server', DEADLINE, () => {
  it('takes its time over the same text', async () => {
    await using directory = await temporaryDirectory();
    const [tiny, slow] = await Promise.all([
      writeTinyModel(join(directory.path, 'tiny.gguf')),
      writeTinyModel(join(directory.path, 'slow.gguf'), { preset: 'slow' }),
    ]);
    const texts: string[] = [];
    let speed = 0;
    for (const { path } of [tiny, slow]) {
      await using server = await startRealServer(path, ['-c', '512']);
      const answer = await callJson<Completion>(server, '/completion', {
        prompt: 'Hello',
        n_predict: 25,
        temperature: 0,
      });
      texts.push(answer.content);
      speed = answer.timings.predicted_per_second;
    }
    assert.equal(texts[0], texts[1]);
    // Nominally 50; much slower on a busy machine, somewhat faster on a new one.
    assert.ok(speed > 1 && speed < 400, `${speed} tokens per second`);
  });

  it('reranks with --reranking', async () => {
    await using directory = await temporaryDirectory();
    const { path } = await writeTinyModel(join(directory.path, 'tiny.gguf'));
    await using server = await startRealServer(path, ['-t', '1', '-c', '512', '--reranking']);
    const { results } = await callJson<{ results: Array<{ index: number; relevance_score: number }> }>(
      server,
      '/rerank',
      {
        query: 'bada',
        documents: ['bada', 'zizi'],
      },
    );
    assert.deepEqual(
      results.map(({ index }) => index).toSorted((a, b) => a - b),
      [0, 1],
    );
    assert.ok(results.every(({ relevance_score: score }) => Number.isFinite(score)));
  });
});
