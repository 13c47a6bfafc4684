import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import OpenAI, { APIError, APIUserAbortError, AuthenticationError, BadRequestError, NotFoundError } from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import {
  CONTINUED_TOKENS,
  EXACT_CONTINUATION,
  LONG_ANSWER_TOKENS,
  NO_CONTINUATION,
  ServeProcess,
  slotFreedAfterMs,
} from './serve-process.ts';

/** The `openai` package, as its users write it, against a running `llamero serve`. */

const TEN = Array.from({ length: 10 }, (_, index) => index);
const messages = [{ role: 'user' as const, content: 'Tell me about llamas.' }];
const weatherArguments = z.strictObject({ city: z.string().max(20), days: z.number().int().min(1).max(7) });
const weather = {
  type: 'function' as const,
  function: {
    name: 'get_weather',
    description: 'The weather of the next days.',
    parameters: z.toJSONSchema(weatherArguments) as Record<string, unknown>,
  },
};

describe('openai', { timeout: 60_000 }, () => {
  let serve: ServeProcess;
  let client: OpenAI;
  let model: string;

  before(async () => {
    serve = await ServeProcess.start();
    model = serve.model;
    client = new OpenAI({ baseURL: `${serve.url}/v1`, apiKey: serve.key, maxRetries: 0, timeout: 30_000 });
  });
  after(() => serve.stop());

  /** A chat stream whose first part is there. */
  async function beginStream(signal?: AbortSignal) {
    const body = { model, messages, max_completion_tokens: LONG_ANSWER_TOKENS, stream: true as const };
    const parts = (await client.chat.completions.create(body, { signal }))[Symbol.asyncIterator]();
    assert.equal((await parts.next()).done, false);
    return parts;
  }

  /** Asserts a `BadRequestError` with that code, whole and streamed alike. */
  async function refuses(fields: Record<string, unknown>, code: string): Promise<void> {
    for (const stream of [false, true]) {
      const call = client.chat.completions.create({ model, messages, stream, ...fields } as never);
      await assert.rejects(call, (error) => {
        assert.ok(error instanceof BadRequestError, String(error));
        const { status, type } = error;
        assert.deepEqual({ status, type, code: error.code }, { status: 400, type: 'invalid_request_error', code });
        assert.match(error.requestID ?? '', /\S/);
        return true;
      });
    }
  }

  it('lists and retrieves models', async () => {
    const { data } = await client.models.list();
    assert.deepEqual(
      data.map(({ id }) => id),
      [model],
    );
    assert.equal((await client.models.retrieve(model)).id, model);
  });

  it('chats, ten times', async () => {
    for (const seed of TEN) {
      const answer = await client.chat.completions.create({ model, messages, max_completion_tokens: 8, seed });
      const [choice] = answer.choices;
      assert.equal(choice?.finish_reason, 'length');
      assert.equal(choice.message.role, 'assistant');
      assert.ok((choice.message.content?.length ?? 0) > 0);
      assert.equal(answer.usage?.completion_tokens, 8);
    }
  });

  it('streams chats, ten times, with usage', async () => {
    for (const seed of TEN) {
      const stream = await client.chat.completions.create({
        model,
        messages,
        max_completion_tokens: 8,
        seed,
        stream: true,
        stream_options: { include_usage: true },
      });
      let text = '';
      const finishReasons: string[] = [];
      let completionTokens = 0;
      for await (const { choices, usage } of stream) {
        text += choices[0]?.delta.content ?? '';
        if (choices[0]?.finish_reason) finishReasons.push(choices[0].finish_reason);
        completionTokens = usage?.completion_tokens ?? completionTokens;
      }
      assert.ok(text.length > 0);
      assert.deepEqual(finishReasons, ['length']);
      assert.equal(completionTokens, 8);
    }
  });

  it('answers ten at once, on four slots', async () => {
    const answers = await Promise.all(
      TEN.map((seed) => client.chat.completions.create({ model, messages, max_completion_tokens: 8, seed })),
    );
    assert.ok(answers.every(({ usage }) => usage?.completion_tokens === 8));
  });

  it('calls tools, whole and streamed, ten times', async () => {
    for (const seed of TEN) {
      const body = { model, messages, tools: [weather], tool_choice: 'required' as const, seed };
      const completion =
        seed % 2 === 0
          ? await client.chat.completions.create(body)
          : await client.chat.completions.stream(body).finalChatCompletion();
      const [choice] = completion.choices;
      assert.equal(choice?.finish_reason, 'tool_calls');
      const [call] = choice.message.tool_calls ?? [];
      assert.ok(call?.type === 'function');
      assert.equal(call.function.name, 'get_weather');
      assert.ok(call.id.length > 0);
      weatherArguments.parse(JSON.parse(call.function.arguments));
    }
  });

  it('takes the result of a tool call', async () => {
    const call = {
      id: 'call_1',
      type: 'function' as const,
      function: { name: 'get_weather', arguments: '{"city":"x"}' },
    };
    const { choices } = await client.chat.completions.create({
      model,
      messages: [
        ...messages,
        { role: 'assistant', tool_calls: [call] },
        { role: 'tool', tool_call_id: 'call_1', content: 'Sunny.' },
      ],
      max_completion_tokens: 8,
    });
    assert.ok(choices[0]?.message.content);
  });

  it('parses structured output, ten times', async () => {
    for (const seed of TEN) {
      const { choices } = await client.chat.completions.parse({
        model,
        messages,
        response_format: zodResponseFormat(weatherArguments, 'weather'),
        seed,
      });
      const parsed = choices[0]?.message.parsed;
      assert.ok(parsed);
      assert.ok(parsed.days >= 1 && parsed.days <= 7 && parsed.city.length <= 20);
    }
  });

  it('completes, whole and streamed, ten times', async () => {
    for (const seed of TEN) {
      const body = { model, prompt: 'Once upon a time', max_tokens: 8, seed };
      const whole = await client.completions.create(body);
      assert.ok((whole.choices[0]?.text.length ?? 0) > 0);
      let text = '';
      let finishReason: string | null = null;
      for await (const { choices } of await client.completions.create({ ...body, stream: true })) {
        text += choices[0]?.text ?? '';
        finishReason = choices[0]?.finish_reason ?? finishReason;
      }
      assert.ok(text.length > 0);
      assert.equal(finishReason, 'length');
    }
  });

  it('embeds, ten times, in both encodings', async () => {
    for (const index of TEN) {
      const input = [`text ${index}`, 'another'];
      // The package itself asks for base64 unless told otherwise, and decodes it.
      const { data, usage } = await client.embeddings.create({ model, input });
      const floats = await client.embeddings.create({ model, input, encoding_format: 'float' });
      assert.equal(data.length, 2);
      assert.ok(usage.prompt_tokens > 0);
      for (const [row, { embedding }] of data.entries()) {
        const expected = floats.data[row]?.embedding ?? [];
        assert.equal(embedding.length, 64);
        assert.ok(embedding.every((value, column) => Math.abs(value - (expected[column] ?? Number.NaN)) < 1e-5));
      }
    }
  });

  it('creates responses, whole and streamed, ten times', async () => {
    for (const temperature of TEN.map((index) => index / 10)) {
      const body = { model, input: 'Tell me about llamas.', max_output_tokens: 8, temperature };
      const whole = await client.responses.create(body);
      assert.ok(whole.output_text.length > 0);
      assert.equal(whole.usage?.output_tokens, 8);
      const types: string[] = [];
      let text = '';
      for await (const event of await client.responses.create({ ...body, stream: true })) {
        types.push(event.type);
        if (event.type === 'response.output_text.delta') text += event.delta;
        if (event.type === 'response.completed') assert.equal(event.response.usage?.output_tokens, 8);
      }
      assert.ok(text.length > 0);
      assert.equal(types[0], 'response.created');
      assert.equal(types.at(-1), 'response.completed');
    }
  });

  it('calls tools in responses', async () => {
    const { name, parameters } = weather.function;
    const { output } = await client.responses.create({
      model,
      input: 'Weather?',
      tools: [{ type: 'function', name, parameters, strict: true }],
      tool_choice: 'required',
    });
    const call = output.find((item) => item.type === 'function_call');
    assert.equal(call?.name, 'get_weather');
    weatherArguments.parse(JSON.parse(call.arguments));
  });

  it('frees the slot within 100 ms when a stream is aborted or left', async () => {
    const aborted = await slotFreedAfterMs(serve, async () => {
      const cancellation = new AbortController();
      await beginStream(cancellation.signal);
      return () => cancellation.abort();
    });
    assert.ok(aborted < 100, `aborted: ${aborted} ms`);
    const left = await slotFreedAfterMs(serve, async () => {
      const parts = await beginStream();
      return () => parts.return?.();
    });
    assert.ok(left < 100, `left: ${left} ms`);
  });

  it('ends an aborted call without stream at once', async () => {
    const cancellation = new AbortController();
    const { signal } = cancellation;
    const body = { model, messages, max_completion_tokens: LONG_ANSWER_TOKENS };
    const call = assert.rejects(client.chat.completions.create(body, { signal }), APIUserAbortError);
    while ((await serve.busySlots()) === 0);
    cancellation.abort();
    await call;
    // llama-server itself goes on for a while: without a stream it seldom looks whether its client is still there.
    while ((await serve.status()).inFlight > 0);
  });

  describe('errors', () => {
    it('BadRequestError for a wrong field', async () => {
      await refuses({ temperature: 'hot' }, 'invalid_request');
      await refuses({ messages: 'none' }, 'invalid_request');
    });

    it('context_length_exceeded for a prompt that is too long', async () => {
      const long = [{ role: 'user', content: 'word '.repeat(5000) }];
      await refuses({ messages: long }, 'context_length_exceeded');
    });

    it('NotFoundError for an unknown model or route', async () => {
      await assert.rejects(client.models.retrieve('no/such model'), (error) => {
        assert.ok(error instanceof NotFoundError);
        assert.equal(error.code, 'model_not_found');
        assert.match(error.message, new RegExp(`'${model}'`), 'it names what there is');
        return true;
      });
      await assert.rejects(client.images.generate({ prompt: 'a llama' }), (error) => {
        assert.ok(error instanceof NotFoundError);
        assert.equal(error.code, 'not_found');
        return true;
      });
    });

    it('AuthenticationError for a wrong key', async () => {
      for (const apiKey of ['wrong', `${serve.key}x`]) {
        const stranger = new OpenAI({ baseURL: `${serve.url}/v1`, apiKey, maxRetries: 0 });
        for (const call of [
          () => stranger.models.list(),
          () => stranger.chat.completions.create({ model, messages }),
          () => stranger.chat.completions.create({ model, messages, stream: true }),
        ]) {
          await assert.rejects(
            async () => call(),
            (error) => {
              assert.ok(error instanceof AuthenticationError);
              assert.equal(error.code, 'invalid_api_key');
              return true;
            },
          );
        }
      }
    });
  });

  for (const [name, open] of Object.entries({
    chat: (options) => {
      const body = { model, messages, max_completion_tokens: CONTINUED_TOKENS, stream: true as const };
      return client.chat.completions.create({ ...body, temperature: 0 }, options);
    },
    completion: (options) => {
      const body = { model, prompt: 'Once', max_tokens: CONTINUED_TOKENS, stream: true as const };
      return client.completions.create({ ...body, temperature: 0 }, options);
    },
    response: (options) => {
      const body = { model, input: 'Hi', max_output_tokens: CONTINUED_TOKENS, stream: true as const };
      return client.responses.create({ ...body, temperature: 0 }, options);
    },
  } satisfies Record<string, (options: OpenAI.RequestOptions) => Promise<AsyncIterable<StreamPart>>>)) {
    describe(`a ${name} stream whose engine is killed in the middle`, () => {
      it('goes on, and its reader notices nothing', async () => {
        await serve.freshEngine();
        const expected = await readStream(await open({}));
        assert.deepEqual([expected.reasons.length, expected.ids], [1, 1]);
        for (const headers of [EXACT_CONTINUATION, {}]) {
          const pid = await serve.freshEngine();
          const continued = await readStream(await open({ headers }), () => process.kill(pid, 'SIGKILL'));
          assert.notEqual((await serve.status()).pid, pid, 'another engine ended it');
          // Going on behind text may read that text as other tokens.
          if (headers === EXACT_CONTINUATION) assert.equal(continued.text, expected.text);
          assert.deepEqual({ ...continued, text: '' }, { ...expected, text: '' });
        }
      });

      it('raises an error where it may not go on, and the next request is served', async () => {
        const { pid } = await serve.status();
        let parts = 0;
        const read = async () => {
          for await (const part of await open({ headers: NO_CONTINUATION })) {
            assert.ok(part);
            parts += 1;
            if (parts === 3) process.kill(pid, 'SIGKILL');
          }
        };
        await assert.rejects(read, (error) => {
          assert.ok(error instanceof APIError, String(error));
          assert.equal(error.code, 'stream_interrupted');
          return true;
        });
        assert.ok(parts >= 3);
        const { usage } = await client.chat.completions.create({ model, messages, max_completion_tokens: 4 });
        assert.equal(usage?.completion_tokens, 4, 'served by the restarted engine');
      });
    });
  }
});

type StreamPart =
  | OpenAI.Chat.Completions.ChatCompletionChunk
  | OpenAI.Completions.Completion
  | OpenAI.Responses.ResponseStreamEvent;

/** What a reader gets of a stream. @param onThird is done when three parts are there. */
async function readStream(stream: AsyncIterable<StreamPart>, onThird?: () => void) {
  const ids = new Set<string>();
  const reasons: string[] = [];
  let text = '';
  let parts = 0;
  for await (const part of stream) {
    parts += 1;
    if (parts === 3) onThird?.();
    if ('choices' in part) {
      const [choice] = part.choices;
      text += (choice !== undefined && 'delta' in choice ? choice.delta.content : choice?.text) ?? '';
      if (choice?.finish_reason) reasons.push(choice.finish_reason);
      ids.add(part.id);
    } else if (part.type === 'response.output_text.delta') {
      text += part.delta;
      ids.add(part.item_id);
    } else if (part.type === 'response.completed' || part.type === 'response.incomplete') {
      reasons.push(part.type);
      const contents = part.response.output.flatMap((item) => (item.type === 'message' ? item.content : []));
      assert.equal(contents.map((one) => (one.type === 'output_text' ? one.text : '')).join(''), text);
      assert.equal(part.response.usage?.output_tokens, CONTINUED_TOKENS);
    }
  }
  return { text, reasons, ids: ids.size };
}
