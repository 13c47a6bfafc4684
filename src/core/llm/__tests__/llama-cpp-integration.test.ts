import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, it, type TestContext } from 'node:test';
import { Script } from 'node:vm';
import { z } from 'zod';
import type { LlameroError } from '../../errors.ts';
import type { StreamPart } from '../answers.ts';
import type { ChatMessage } from '../generate-options.ts';
import { openIntegrationEngine, type IntegrationEngine } from './integration-engine.ts';

/**
 * Production scenarios and benchmarks on the real llama-server: with `TEST_MODEL_PATH` on that model, else on the tiny
 * one, of which shape is demanded and no wisdom. `SKIP_LLAMA_INTEGRATION=true` runs them on the double. Benchmarks print what they measure and assert only what must always hold.
 */

const emailAnalysis = z.strictObject({
  category: z.enum(['complaint', 'inquiry', 'order', 'other']),
  urgency: z.number().int().min(1).max(5),
  summary: z.string().min(1).max(120),
  sender: z.strictObject({ name: z.string().max(40), needsReply: z.boolean() }),
  actions: z.array(z.string().max(60)).min(1).max(3),
});
const emailSchema = z.toJSONSchema(emailAnalysis);

const EMAILS = [
  {
    category: 'complaint',
    text: 'Dear support,\n\nmy order 4711 arrived broken, for the second time! I demand a refund today.\n\nJane Miller',
  },
  {
    category: 'inquiry',
    text: 'Hello,\n\ndo you ship to Norway, and what does it cost? There is no hurry.\n\nKind regards\nOla Nordmann',
  },
  { category: 'order', text: 'Please send us 200 units of part A-17 to the usual address.\n\nM. Dupont, Purchasing' },
];

/** A model of billions of weights on a processor takes its time; the tiny one does not. */
const TIMEOUT_MS = process.env['TEST_MODEL_PATH'] === undefined ? 60_000 : 1_200_000;

describe('llama.cpp integration', { timeout: TIMEOUT_MS }, () => {
  let engine: IntegrationEngine;

  before(async () => {
    engine = await openIntegrationEngine(process.env);
  });
  after(() => engine[Symbol.asyncDispose]());

  /** Asserts what only a model with some sense can fulfil. */
  function sensible(assertion: () => void): void {
    if (engine.kind === 'model') assertion();
  }

  describe('production scenarios', () => {
    for (const email of EMAILS) {
      it(`analyses a business email into JSON: ${email.category}`, async () => {
        const { text, finishReason, usage } = await engine.provider.chat(
          [
            { role: 'system', content: 'You analyse business email. Answer in JSON.' },
            { role: 'user', content: email.text },
          ],
          { jsonSchema: emailSchema, maxTokens: 1000, temperature: 0.2, seed: 1, extra: WITHOUT_THINKING },
        );
        const analysis = emailAnalysis.parse(JSON.parse(text));
        assert.equal(finishReason, 'stop');
        assert.ok(usage.promptTokens > 0 && usage.completionTokens > 0);
        sensible(() => assert.equal(analysis.category, email.category));
      });
    }

    it('generates code that compiles, and streams the same code', async () => {
      const prompt = '// JavaScript: a function that returns the sum of its two arguments\n';
      const options = {
        grammar: String.raw`root ::= "function " name "(a, b) {\n  return a " [+*-] " b;\n}\n"
name ::= "f" [a-z]{1,12}`,
        maxTokens: 120,
        temperature: 0,
        extra: { cache_prompt: false },
      };
      const whole = await engine.provider.generate(prompt, options);
      if (engine.kind !== 'double') {
        assert.equal(whole.finishReason, 'stop');
        assert.match(whole.text, /^function f[a-z]+\(a, b\) \{\n {2}return a [+*-] b;\n\}\n$/);
        assert.equal(typeof new Script(`(${whole.text})`).runInNewContext(), 'function');
      }

      let streamed = '';
      let finishReason: string | null = null;
      for await (const part of engine.provider.stream(prompt, options)) {
        streamed += part.text;
        finishReason ??= part.finishReason;
      }
      assert.equal(finishReason, whole.finishReason);
      assert.equal(streamed, whole.text);
    });

    it('writes code in a chat, up to the stop text or the limit', async () => {
      const { text, finishReason, usage } = await engine.provider.chat(
        [{ role: 'user', content: 'Write a JavaScript function `add(a, b)`. Only code.' }],
        { maxTokens: 96, temperature: 0, extra: WITHOUT_THINKING },
      );
      assert.ok(text.length > 0);
      assert.ok(finishReason === 'length' ? usage.completionTokens === 96 : finishReason === 'stop');
      sensible(() => assert.match(text, /add[\s\S]*return/));
    });

    it('keeps the context of a conversation over several turns', async () => {
      const messages: ChatMessage[] = [
        { role: 'system', content: 'You are a patient assistant who remembers what was said and answers in a word.' },
      ];
      const turns = ['My name is Ada Lovelace.', 'I work in London.', 'What is my first name?'];
      const prompts: number[] = [];
      const cached: number[] = [];
      let answer = '';
      for (const content of turns) {
        messages.push({ role: 'user', content });
        const turn = await engine.provider.chat(messages, { maxTokens: 24, temperature: 0, extra: WITHOUT_THINKING });
        answer = turn.text;
        messages.push({ role: 'assistant', content: answer });
        prompts.push(turn.usage.promptTokens);
        cached.push(turn.usage.cachedTokens);
      }
      const [first = 0, second = 0, third = 0] = prompts;
      assert.ok(first < second && second < third, `the prompt grows: ${prompts.join(', ')}`);
      if (engine.kind === 'model') {
        // Not every architecture can go on from a cached prompt, but every model should know what it was told.
        assert.match(answer, /Ada/);
      } else if (engine.kind === 'tiny') {
        assert.ok((cached[1] ?? 0) > first / 2 && (cached[2] ?? 0) > second / 2, `cached: ${cached.join(', ')}`);
      }
    });

    it('works with the whole server: facts, tokens, embeddings', async () => {
      const { provider } = engine;
      if (engine.kind !== 'double') assert.match(provider.status().engine?.version ?? '', /\d+\.\d+|b\d+/);
      assert.equal(provider.getModelInfo().state, 'ready');
      assert.ok((provider.getModelInfo().contextLength ?? 0) > 0);
      assert.equal(provider.getModelInfo().slots, 4);

      const text = 'Grüße aus 東京 🦙, said the llama.';
      const tokens = await provider.tokenize(text);
      assert.ok(tokens.length > 4);
      // Some tokenizers put a space before the first word.
      assert.equal((await provider.detokenize(tokens)).trim(), text);

      const { embeddings } = await provider.embed(['a cat', 'a kitten', 'a cat']);
      assert.equal(embeddings.length, 3);
      for (const vector of embeddings) assert.ok(vector.length > 0 && vector.every((value) => Number.isFinite(value)));
      assert.equal(embeddings[0]?.length, embeddings[1]?.length);
    });

    it('refuses a prompt beyond the context, and serves the next', async () => {
      await assert.rejects(engine.provider.generate('too long '.repeat(5000)), (error: LlameroError) => {
        assert.equal(error.code, 'context_length_exceeded');
        assert.equal(error.status, 400);
        return true;
      });
      assert.ok((await engine.provider.generate('Hello', { maxTokens: 4 })).text.length > 0);
    });

    it('frees the slot of a cancelled stream within 100 ms', async () => {
      const times: number[] = [];
      for (let run = 0; run < 3; run += 1) times.push(await cancelMidStream());
      // The quickest of three: the others may have had to wait for a busy processor.
      assert.ok(Math.min(...times) < 100, `freed after ${times.join(', ')} ms`);
      assert.equal(engine.provider.getModelInfo().processCount, 0);
    });
  });

  /** Cancels a running stream. @returns how long the engine took to free its slot, in ms. */
  async function cancelMidStream(): Promise<number> {
    const cancellation = new AbortController();
    const stream = engine.provider.stream('Once upon a time', {
      maxTokens: 3900,
      signal: cancellation.signal,
      extra: { ignore_eos: true },
    });
    await stream.next();
    assert.equal(await engine.gauge('requests_processing'), 1);
    const cancelledAt = performance.now();
    cancellation.abort();
    await assert.rejects(lastOf(stream), { code: 'cancelled' });
    for (;;) {
      if ((await engine.gauge('requests_processing')) === 0) return performance.now() - cancelledAt;
    }
  }

  describe('benchmarks', () => {
    it('token generation speed', async (test) => {
      const startedAt = performance.now();
      let firstTokenMs = Number.NaN;
      let speed = 0;
      let tokens = 0;
      const options = { maxTokens: 200, temperature: 0, extra: { ignore_eos: true } };
      for await (const part of engine.provider.stream('The history of computing begins', options)) {
        if (Number.isNaN(firstTokenMs)) firstTokenMs = performance.now() - startedAt;
        if (part.finishReason === null) continue;
        speed = part.timings?.completionTokensPerSecond ?? 0;
        tokens = part.usage?.completionTokens ?? 0;
      }
      const seconds = (performance.now() - startedAt) / 1000;
      print(test, {
        'tokens/s at the engine': speed,
        'tokens/s at the caller': tokens / seconds,
        'first token, ms': firstTokenMs,
      });
      assert.equal(tokens, 200);
      assert.ok(speed > 0);
    });

    it('latency by request size', async (test) => {
      let previous = 0;
      for (const [size, words] of Object.entries({ small: 10, medium: 200, large: 1000 })) {
        const latencies: number[] = [];
        let promptTokens = 0;
        for (let run = 0; run < 5; run += 1) {
          const startedAt = performance.now();
          const answer = await engine.provider.generate('la '.repeat(words), {
            maxTokens: 8,
            temperature: 0,
            extra: { cache_prompt: false, ignore_eos: true },
          });
          latencies.push(performance.now() - startedAt);
          promptTokens = answer.usage.promptTokens;
          assert.equal(answer.usage.completionTokens, 8);
          assert.equal(answer.usage.cachedTokens, 0);
        }
        print(test, { size, 'prompt tokens': promptTokens, ...latencyFigures(latencies) });
        assert.ok(promptTokens > previous);
        previous = promptTokens;
      }
    });

    it('twelve concurrent requests: all right, and never more at the engine than slots', async (test) => {
      const { provider, slots } = engine;
      const observed: Promise<[processing: number, deferred: number]>[] = [];
      const observe = (): void => {
        observed.push(Promise.all([engine.gauge('requests_processing'), engine.gauge('requests_deferred')]));
      };
      provider.on('response', observe);
      const startedAt = performance.now();
      const latencies: number[] = [];
      const answers = Promise.all(
        Array.from({ length: 12 }, async (_, index) => {
          const grammar = `root ::= "caller ${index} " [a-z ]{60,60}`;
          const answer = await provider.generate(`Request ${index}:`, { grammar, maxTokens: 90, seed: index });
          latencies.push(performance.now() - startedAt);
          return answer;
        }),
      );
      assert.equal(provider.getModelInfo().processCount, 12);
      assert.equal(provider.status().queued, 12 - slots);
      const generations = await answers;
      const seconds = (performance.now() - startedAt) / 1000;
      provider.off('response', observe);

      for (const [index, { text, finishReason }] of generations.entries()) {
        const own = engine.kind === 'double' ? /^ 1 2 3 / : new RegExp(`^caller ${index} [a-z ]{60}$`);
        assert.match(text, own, 'each caller gets its own whole answer');
        assert.equal(finishReason, engine.kind === 'double' ? 'length' : 'stop');
      }
      assert.equal(observed.length, 12);
      for (const [processing, deferred] of await Promise.all(observed)) {
        assert.ok(processing <= slots);
        assert.equal(deferred, 0, 'nothing waits in the queue of the engine');
      }
      assert.equal(provider.getModelInfo().processCount, 0);
      const tokens = generations.reduce((sum, { usage }) => sum + usage.completionTokens, 0);
      print(test, { requests: 12, slots, 'tokens/s together': tokens / seconds, ...latencyFigures(latencies) });
    });
  });

  it('leaves nothing behind', async () => {
    const { provider, address, pid } = engine;
    assert.ok(isAlive(pid));
    await engine[Symbol.asyncDispose]();
    assert.ok(!isAlive(pid), 'the process is gone');
    if ('socketPath' in address) assert.ok(!existsSync(address.socketPath), 'its socket is gone');
    assert.equal(provider.getModelInfo().state, 'stopped');
    assert.deepEqual(provider.events.eventNames(), []);
    await assert.rejects(provider.generate('Hello'), { code: 'engine_unavailable' });
  });
});

/** Models that think would use up the tokens of a short answer. Others ignore it. */
const WITHOUT_THINKING = { chat_template_kwargs: { enable_thinking: false } };

async function lastOf(stream: AsyncIterable<StreamPart>): Promise<StreamPart | undefined> {
  let last: StreamPart | undefined;
  for await (const part of stream) last = part;
  return last;
}

function latencyFigures(latencies: readonly number[]): Record<string, number> {
  const sorted = latencies.toSorted((a, b) => a - b);
  return { 'median, ms': sorted[Math.floor(sorted.length / 2)] ?? 0, 'max, ms': sorted.at(-1) ?? 0 };
}

function print(test: TestContext, figures: Record<string, number | string>): void {
  const texts = Object.entries(figures).map(([name, value]) => {
    return `${name}: ${typeof value === 'number' && !Number.isInteger(value) ? value.toFixed(1) : value}`;
  });
  test.diagnostic(texts.join(', '));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
