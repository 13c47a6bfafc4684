import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import Anthropic, {
  APIError,
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  NotFoundError,
} from '@anthropic-ai/sdk';
import { z } from 'zod';
import {
  CONTINUED_TOKENS,
  LONG_ANSWER_TOKENS,
  NO_CONTINUATION,
  ServeProcess,
  slotFreedAfterMs,
} from './serve-process.ts';

/** The `@anthropic-ai/sdk` package, as its users write it, against a running `llamero serve`. */

const TEN = Array.from({ length: 10 }, (_, index) => index);
const messages = [{ role: 'user' as const, content: 'Tell me about llamas.' }];
const weatherInput = z.strictObject({ city: z.string().max(20), days: z.number().int().min(1).max(7) });
const weather = {
  name: 'get_weather',
  description: 'The weather of the next days.',
  input_schema: z.toJSONSchema(weatherInput) as Anthropic.Tool.InputSchema,
};

describe('@anthropic-ai/sdk', { timeout: 60_000 }, () => {
  let serve: ServeProcess;
  let client: Anthropic;
  let model: string;

  before(async () => {
    serve = await ServeProcess.start();
    model = serve.model;
    client = new Anthropic({ baseURL: serve.url, apiKey: serve.key, maxRetries: 0, timeout: 30_000 });
  });
  after(() => serve.stop());

  it('lists and retrieves models', async () => {
    const { data } = await client.models.list();
    assert.equal(data[0]?.id, model);
    assert.equal((await client.models.retrieve(model)).id, model);
  });

  it('creates messages, ten times', async () => {
    for (const index of TEN) {
      const system = `You know ${index} llamas.`;
      const message = await client.messages.create({ model, messages, system, max_tokens: 8 });
      assert.equal(message.role, 'assistant');
      assert.equal(message.stop_reason, 'max_tokens');
      assert.equal(message.usage.output_tokens, 8);
      const [block] = message.content;
      assert.ok(block?.type === 'text' && block.text.length > 0);
    }
  });

  it('streams messages, ten times, in the order of events that the API has', async () => {
    for (const index of TEN) {
      const system = `You know ${index} llamas.`;
      const stream = client.messages.stream({ model, messages, system, max_tokens: 8 });
      const types: string[] = [];
      let text = '';
      stream.on('streamEvent', ({ type }) => types.push(type));
      stream.on('text', (part) => (text += part));
      const message = await stream.finalMessage();
      assert.equal(await stream.finalText(), text);
      assert.ok(text.length > 0);
      assert.equal(message.stop_reason, 'max_tokens');
      assert.equal(message.usage.output_tokens, 8);
      assert.deepEqual(types.slice(0, 2), ['message_start', 'content_block_start']);
      assert.deepEqual(types.slice(-3), ['content_block_stop', 'message_delta', 'message_stop']);
      assert.ok(types.slice(2, -3).every((type) => type === 'content_block_delta'));
    }
  });

  it('answers ten at once, on four slots', async () => {
    const answers = await Promise.all(TEN.map(() => client.messages.create({ model, messages, max_tokens: 8 })));
    assert.ok(answers.every(({ usage }) => usage.output_tokens === 8));
  });

  it('uses tools, whole and streamed, ten times: input that fits its JSON schema', async () => {
    for (const index of TEN) {
      const body = { model, messages, max_tokens: 2000, tools: [weather], tool_choice: { type: 'any' as const } };
      const message =
        index % 2 === 0 ? await client.messages.create(body) : await client.messages.stream(body).finalMessage();
      assert.equal(message.stop_reason, 'tool_use');
      const use = message.content.find((block) => block.type === 'tool_use');
      assert.equal(use?.name, 'get_weather');
      assert.ok(use.id.length > 0);
      weatherInput.parse(use.input);
    }
  });

  it('takes the result of a tool', async () => {
    const use = { type: 'tool_use' as const, id: 'toolu_1', name: 'get_weather', input: { city: 'Cusco', days: 1 } };
    const message = await client.messages.create({
      model,
      messages: [
        ...messages,
        { role: 'assistant', content: [use] },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: use.id, content: 'Sunny.' }] },
      ],
      tools: [weather],
      tool_choice: { type: 'none' },
      max_tokens: 8,
    });
    assert.ok(message.content.length > 0);
  });

  it('counts tokens, ten times', async () => {
    for (const index of TEN) {
      const content = 'llama '.repeat(index + 1);
      const { input_tokens: tokens } = await client.messages.countTokens({
        model,
        messages: [{ role: 'user', content }],
      });
      const { usage } = await client.messages.create({ model, messages: [{ role: 'user', content }], max_tokens: 1 });
      assert.equal(usage.input_tokens + (usage.cache_read_input_tokens ?? 0), tokens);
    }
  });

  it('frees the slot within 100 ms when a stream is aborted', async () => {
    const freed = await slotFreedAfterMs(serve, async () => {
      const stream = client.messages.stream({ model, messages, max_tokens: LONG_ANSWER_TOKENS });
      const ended = assert.rejects(stream.done(), APIUserAbortError);
      await stream.emitted('text');
      return async () => {
        stream.abort();
        await ended;
      };
    });
    assert.ok(freed < 100, `${freed} ms`);
  });

  it('raises errors of its own classes, whole and streamed', async () => {
    const stranger = new Anthropic({ baseURL: serve.url, apiKey: 'wrong', maxRetries: 0 });
    const long = [{ role: 'user' as const, content: 'word '.repeat(5000) }];
    const wrong = { max_tokens: 'many' } as unknown as { max_tokens: number };
    for (const stream of [false, true]) {
      const body = { model, messages, max_tokens: 8, stream };
      const cases = [
        [() => client.messages.create({ ...body, ...wrong }), BadRequestError, 'invalid_request'],
        [() => client.messages.create({ ...body, messages: long }), BadRequestError, 'context_length_exceeded'],
        [() => stranger.messages.create(body), AuthenticationError, 'invalid_api_key'],
      ] as const;
      for (const [call, errorClass, code] of cases) {
        await assert.rejects(
          async () => call(),
          (error) => {
            assert.ok(error instanceof errorClass, String(error));
            assert.equal(codeOf(error), code);
            return true;
          },
        );
      }
    }
    await assert.rejects(client.models.retrieve('no-such-model'), NotFoundError);
    await assert.rejects(client.messages.batches.list(), NotFoundError);
  });

  it('reads a stream to its end whose engine is killed in the middle, and notices nothing', async () => {
    // Of messages the engine takes no seed: only without chance does it say the same again.
    const body = { model, messages, max_tokens: CONTINUED_TOKENS, temperature: 0 };
    await serve.freshEngine();
    const expected = await client.messages.stream(body).finalMessage();
    assert.equal(expected.usage.output_tokens, CONTINUED_TOKENS);
    const pid = await serve.freshEngine();
    const stream = client.messages.stream(body);
    const types: string[] = [];
    let ids = 0;
    for await (const event of stream) {
      types.push(event.type);
      if (types.length === 5) process.kill(pid, 'SIGKILL');
      if (event.type === 'message_start') ids += 1;
    }
    const message = await stream.finalMessage();
    assert.deepEqual(message.content, expected.content);
    assert.equal(message.stop_reason, expected.stop_reason);
    assert.equal(message.usage.output_tokens, CONTINUED_TOKENS);
    assert.equal(ids, 1, 'one message');
    assert.deepEqual(types.slice(0, 2), ['message_start', 'content_block_start']);
    assert.deepEqual(types.slice(-3), ['content_block_stop', 'message_delta', 'message_stop']);
    assert.ok(types.slice(2, -3).every((type) => type === 'content_block_delta'));
    assert.notEqual((await serve.status()).pid, pid, 'another engine ended it');
  });

  it('raises an error when the engine is killed in the middle of a stream that may not go on', async () => {
    const { pid } = await serve.status();
    let events = 0;
    const read = async () => {
      const body = { model, messages, max_tokens: LONG_ANSWER_TOKENS };
      for await (const event of client.messages.stream(body, { headers: NO_CONTINUATION })) {
        assert.ok(event.type !== 'message_stop');
        events += 1;
        if (events === 5) process.kill(pid, 'SIGKILL');
      }
    };
    await assert.rejects(read, (error) => {
      assert.ok(error instanceof APIError, String(error));
      assert.equal(codeOf(error), 'stream_interrupted');
      return true;
    });
    assert.ok(events >= 5);
    const { usage } = await client.messages.create({ model, messages, max_tokens: 4 });
    assert.equal(usage.output_tokens, 4, 'served by the restarted engine');
  });
});

/** llamero's code, which the package leaves in the body of the error. */
function codeOf(error: APIError): string | undefined {
  const body: { error?: { code?: string } } | undefined = error.error;
  return body?.error?.code;
}
