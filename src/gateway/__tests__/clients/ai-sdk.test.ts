import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, embed, embedMany, generateText, Output, streamText, tool } from 'ai';
import { z } from 'zod';
import {
  CONTINUED_TOKENS,
  EXACT_CONTINUATION,
  LONG_ANSWER_TOKENS,
  NO_CONTINUATION,
  ServeProcess,
  slotFreedAfterMs,
} from './serve-process.ts';

/** The AI SDK with its OpenAI-compatible provider, as its users write it, against a running `llamero serve`. */

const TEN = Array.from({ length: 10 }, (_, index) => index);
const prompt = 'Tell me about llamas.';
const forecast = z.strictObject({ city: z.string().max(20), days: z.number().int().min(1).max(7) });
const ONCE = { maxRetries: 0 };
/** It warns on the console that the completion API has no tools. */
Object.assign(globalThis, { AI_SDK_LOG_WARNINGS: false });

describe('AI SDK', { timeout: 60_000 }, () => {
  let serve: ServeProcess;
  let provider: ReturnType<typeof llamero>;
  let model: ReturnType<typeof provider>;

  function llamero(apiKey: string) {
    return createOpenAICompatible({
      name: 'llamero',
      baseURL: `${serve.url}/v1`,
      apiKey,
      includeUsage: true,
      supportsStructuredOutputs: true,
    });
  }

  before(async () => {
    serve = await ServeProcess.start();
    provider = llamero(serve.key);
    model = provider(serve.model);
  });
  after(() => serve.stop());

  it('generates text, ten times', async () => {
    for (const seed of TEN) {
      const { text, finishReason, usage } = await generateText({ ...ONCE, model, prompt, seed, maxOutputTokens: 8 });
      assert.ok(text.length > 0);
      assert.equal(finishReason, 'length');
      assert.equal(usage.outputTokens, 8);
    }
  });

  it('streams text, ten times', async () => {
    for (const seed of TEN) {
      const result = streamText({ ...ONCE, model, prompt, seed, maxOutputTokens: 8 });
      let text = '';
      for await (const part of result.textStream) text += part;
      assert.ok(text.length > 0);
      assert.equal(await result.text, text);
      assert.equal(await result.finishReason, 'length');
      assert.equal((await result.usage).outputTokens, 8);
    }
  });

  it('completes text', async () => {
    const completion = provider.completionModel(serve.model);
    const { text } = await generateText({ ...ONCE, model: completion, prompt, maxOutputTokens: 8 });
    assert.ok(text.length > 0);
  });

  it('answers ten at once, on four slots', async () => {
    const answers = await Promise.all(
      TEN.map((seed) => generateText({ ...ONCE, model, prompt, seed, maxOutputTokens: 8 })),
    );
    assert.ok(answers.every(({ usage }) => usage.outputTokens === 8));
  });

  it('calls tools, whole and streamed, ten times', async () => {
    const tools = { getForecast: tool({ description: 'The weather.', inputSchema: forecast }) };
    for (const seed of TEN) {
      const call = { ...ONCE, model, prompt, seed, tools, toolChoice: 'required' as const };
      const result = seed % 2 === 0 ? await generateText(call) : streamText(call);
      assert.equal(await result.finishReason, 'tool-calls');
      const [first] = await result.toolCalls;
      assert.equal(first?.toolName, 'getForecast');
      forecast.parse(first.input);
    }
  });

  it('generates objects that fit their schema, whole and streamed, ten times', async () => {
    for (const seed of TEN) {
      const call = { ...ONCE, model, prompt, seed, output: Output.object({ schema: forecast }) };
      const output = seed % 2 === 0 ? (await generateText(call)).output : await streamText(call).output;
      assert.ok(output.days >= 1 && output.days <= 7 && output.city.length <= 20);
    }
  });

  it('embeds, ten times', async () => {
    const embedding = provider.embeddingModel(serve.model);
    for (const index of TEN) {
      const values = [`text ${index}`, 'another'];
      const { embeddings, usage } = await embedMany({ ...ONCE, model: embedding, values });
      assert.deepEqual(
        embeddings.map((vector) => vector.length),
        [64, 64],
      );
      assert.ok(usage.tokens > 0);
      const one = await embed({ ...ONCE, model: embedding, value: 'another' });
      assert.ok(one.embedding.every((value, column) => Math.abs(value - (embeddings[1]?.[column] ?? 9)) < 1e-4));
    }
  });

  it('frees the slot within 100 ms when a stream is aborted', async () => {
    const freed = await slotFreedAfterMs(serve, async () => {
      const cancellation = new AbortController();
      const { signal: abortSignal } = cancellation;
      const result = streamText({ ...ONCE, model, prompt, maxOutputTokens: LONG_ANSWER_TOKENS, abortSignal });
      const parts = result.textStream[Symbol.asyncIterator]();
      await parts.next();
      return () => cancellation.abort();
    });
    assert.ok(freed < 100, `${freed} ms`);
  });

  it('raises its own errors, with our codes', async () => {
    const cases: [Partial<Parameters<typeof generateText>[0]>, status: number, code: string][] = [
      [{ prompt: 'word '.repeat(5000) }, 400, 'context_length_exceeded'],
      [{ stopSequences: [5 as unknown as string] }, 400, 'invalid_request'],
      [{ model: llamero('wrong')(serve.model) }, 401, 'invalid_api_key'],
    ];
    for (const [call, status, code] of cases) {
      const body = { ...ONCE, model, prompt, maxOutputTokens: 8 };
      await assert.rejects(generateText({ ...body, ...call } as typeof body), (error) => {
        assert.ok(APICallError.isInstance(error), String(error));
        assert.equal(error.statusCode, status);
        assert.equal(error.isRetryable, false);
        assert.equal((error.data as { error: { code: string } }).error.code, code);
        return true;
      });
    }
  });

  it('reads a stream to its end whose engine is killed in the middle, and notices nothing', async () => {
    const question = { ...ONCE, model, prompt, temperature: 0, maxOutputTokens: CONTINUED_TOKENS };
    await serve.freshEngine();
    const expected = await generateText(question);
    assert.equal(expected.usage.outputTokens, CONTINUED_TOKENS);
    for (const headers of [EXACT_CONTINUATION, {}]) {
      const pid = await serve.freshEngine();
      const errors: unknown[] = [];
      const finishReasons: string[] = [];
      let deltas = 0;
      const result = streamText({ ...question, headers, onError: ({ error }) => void errors.push(error) });
      for await (const part of result.stream) {
        if (part.type === 'text-delta') deltas += 1;
        if (part.type === 'text-delta' && deltas === 3) process.kill(pid, 'SIGKILL');
        if (part.type === 'finish') finishReasons.push(part.finishReason);
      }
      // Going on behind text may read that text as other tokens.
      if (headers === EXACT_CONTINUATION) assert.equal(await result.text, expected.text);
      assert.deepEqual([errors, finishReasons], [[], ['length']]);
      assert.equal((await result.usage).outputTokens, CONTINUED_TOKENS);
      assert.notEqual((await serve.status()).pid, pid, 'another engine ended it');
    }
  });

  it('reports an error when the engine is killed in the middle of a stream that may not go on', async () => {
    const { pid } = await serve.status();
    const errors: unknown[] = [];
    const finishReasons: string[] = [];
    let deltas = 0;
    const result = streamText({
      ...ONCE,
      model,
      prompt,
      maxOutputTokens: LONG_ANSWER_TOKENS,
      headers: NO_CONTINUATION,
      onError: ({ error }) => void errors.push(error),
    });
    for await (const part of result.stream) {
      if (part.type === 'text-delta') deltas += 1;
      if (part.type === 'text-delta' && deltas === 3) process.kill(pid, 'SIGKILL');
      if (part.type === 'finish') finishReasons.push(part.finishReason);
    }
    assert.ok(deltas >= 3);
    assert.equal(errors.length, 1);
    assert.match(JSON.stringify(errors[0]) + String(errors[0]), /engine|stream/i);
    assert.ok(!finishReasons.includes('stop') && !finishReasons.includes('length'), finishReasons.join());
    const { usage } = await generateText({ ...ONCE, model, prompt, maxOutputTokens: 4 });
    assert.equal(usage.outputTokens, 4, 'served by the restarted engine');
  });
});
