import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { tokenCountsOf } from '../../core/openai/usage.ts';
import {
  dataOf,
  DIALECTS,
  errorOf,
  modelFolder,
  nextEvent,
  record,
  serve,
  type Served,
  StreamReader,
  until,
} from './served-engine.ts';

const CHAT = '/v1/chat/completions';
const HELLO = { messages: [{ role: 'user', content: 'hello' }], max_tokens: 4, temperature: 0 };

/** Limits of clients, seen over HTTP in front of a real llama-server. */
describe('limits of a client', { timeout: 120_000 }, () => {
  let folder: Awaited<ReturnType<typeof modelFolder>>;
  let model = '';
  before(async () => {
    folder = await modelFolder();
    model = await folder.model('tiny');
  });
  after(() => folder[Symbol.asyncDispose]());

  describe('of requests', () => {
    let served: Served;
    before(async () => {
      served = await serve({
        model,
        rateLimit: { requestsPerMinute: 3, requestsPerHour: 100, tokensPerMinute: 50_000 },
      });
    });
    after(() => served[Symbol.asyncDispose]());

    it('are told also where the limits were not asked, and cost nothing there', async () => {
      const dora = { 'x-user-id': 'dora' };
      const left = async (body: object | string, status: number) => {
        const answer = await served.post(CHAT, body, dora);
        await answer.text();
        assert.equal(answer.status, status);
        return ['limit', 'remaining', 'reset'].map((name) => answer.headers.get(`x-ratelimit-${name}-requests`));
      };
      assert.deepEqual(await left('{ no JSON', 400), ['3', '3', '0s']);
      assert.deepEqual((await left(HELLO, 200)).slice(0, 2), ['3', '2']);
      const [limit, remaining, reset] = await left('[]', 400);
      assert.deepEqual([limit, remaining], ['3', '2']);
      assert.match(reset ?? '', /^(1m0s|\d\ds)$/);
    });

    it('are told on every answer: whole, streamed, failed and refused', async () => {
      const refusals = record(served, 'rate-limit');
      const responses = record(served, 'response');
      const alice = { 'x-user-id': 'alice' };
      const kinds: [body: object, status: number][] = [
        [HELLO, 200],
        [{ ...HELLO, stream: true }, 200],
        [{ ...HELLO, grammar: 'no grammar' }, 400],
        [HELLO, 429],
        [{ ...HELLO, stream: true }, 429],
      ];
      for (const [index, [body, status]] of kinds.entries()) {
        const answer = await served.post(CHAT, body, alice);
        assert.equal(answer.status, status, `request ${index}`);
        const left = String(Math.max(0, 2 - index));
        const { headers } = answer;
        assert.equal(headers.get('x-ratelimit-limit-requests'), '3');
        assert.equal(headers.get('x-ratelimit-remaining-requests'), left);
        assert.match(headers.get('x-ratelimit-reset-requests') ?? '', /^(1m0s|\d\ds)$/);
        assert.equal(headers.get('x-ratelimit-limit-tokens'), '50000');
        assert.match(headers.get('x-ratelimit-remaining-tokens') ?? '', /^\d+$/);
        assert.match(headers.get('x-ratelimit-reset-tokens') ?? '', /^(1m0s|\d\ds)$/);
        assert.match(
          headers.get('ratelimit') ?? '',
          new RegExp(`^"requests-per-minute";r=${left};t=\\d+, "requests-per-hour";r=`),
        );
        assert.match(
          headers.get('ratelimit-policy') ?? '',
          /^"requests-per-minute";q=3;w=60, "requests-per-hour";q=100;w=3600, "tokens-per-minute";q=50000;w=60;qu="tokens"$/,
        );
        if (status === 429) {
          const retryAfter = Number(headers.get('retry-after'));
          assert.ok(retryAfter >= 1 && retryAfter <= 61, `${retryAfter} s`);
          const error = await errorOf(answer);
          assert.deepEqual(Object.keys(error), ['message', 'type', 'param', 'code']);
          assert.equal(error.code, 'rate_limit_exceeded');
          assert.match(error.message, /limit of 3 requests per minute; it ends in \d+ s/);
        } else {
          assert.equal(headers.get('retry-after'), null);
          await answer.text();
        }
      }
      assert.equal(responses.length, 2, 'the refused ones never reached the engine');
      assert.equal(refusals[0]?.limit, 'requestsPerMinute');
      assert.ok(!JSON.stringify(refusals).includes('alice'), 'who it was is not told');
    });

    it('cost nothing when they refuse', async () => {
      const bob = { 'x-user-id': 'bob' };
      const remaining: string[] = [];
      for (let count = 0; count < 8; count += 1) {
        const answer = await served.post(CHAT, HELLO, bob);
        await answer.text();
        if (answer.status === 429) remaining.push(answer.headers.get('x-ratelimit-remaining-tokens') ?? '');
      }
      assert.equal(remaining.length, 5);
      assert.equal(new Set(remaining).size, 1, `the same tokens are left after each refusal: ${remaining.join(', ')}`);
    });

    it('hold for each client by itself, and not for what is not his doing', async () => {
      for (const header of ['x-user-id', 'x-session-id']) {
        const codes = [];
        for (let count = 0; count < 4; count += 1)
          codes.push((await served.post(CHAT, HELLO, { [header]: 'carol' })).status);
        assert.deepEqual(codes, [200, 200, 200, 429], header);
      }
      assert.equal((await fetch(`${served.url}/health`)).status, 200);
    });
  });

  describe('of tokens', () => {
    const LIMIT = 120;
    let served: Served;
    before(async () => {
      served = await serve({ model, engine: { parallel: 4 }, rateLimit: { tokensPerMinute: LIMIT } });
    });
    after(() => served[Symbol.asyncDispose]());

    for (const { name, path, body, limit } of DIALECTS) {
      it(`end a stream of ${name} as its length, with an explanation before its last event`, async () => {
        const user = { 'x-user-id': `stream-${name}` };
        const request = { ...body('hello there'), [limit]: 1500, temperature: 0, stream: true };
        const answer = await served.post(path, request, user);
        assert.equal(answer.status, 200);
        const stream = await answer.text();
        const events = stream
          .split(/(?<=\n\n)/)
          .filter((event) => event.startsWith('data') || event.startsWith('event'));
        assert.match(events.at(-2) ?? '', /"llamero":\{"code":"rate_limit_exceeded","message":"The answer ends here/);
        assert.match(events.at(-1) ?? '', /\[DONE\]|"stop":true|message_stop|response\.(completed|incomplete)/);
        assert.match(
          stream,
          /"finish_reason":"length"|"stop_type":"limit"|"stop_reason":"max_tokens"|"status":"(completed|incomplete)"/,
        );
        assert.ok(!stream.includes('"error"'));
        const used = usedBy(stream);
        assert.ok(used <= LIMIT && used > LIMIT / 2, `${used} tokens`);
        const next = await served.post(path, request, user);
        assert.equal(
          next.headers.get('x-ratelimit-remaining-tokens'),
          String(LIMIT - used),
          'what it used was charged',
        );
        assert.equal(next.status, 429);
        assert.match((await errorOf(next)).message, /tokens per minute/);
      });

      it(`cap a whole answer of ${name}`, async () => {
        const answer = await served.post(
          path,
          { ...body('hello there'), temperature: 0, [limit]: 1500 },
          { 'x-user-id': `whole-${name}` },
        );
        const counts = tokenCountsOf(await answer.json());
        const used = (counts?.promptTokens ?? 0) + (counts?.completionTokens ?? 0);
        assert.equal(answer.status, 200);
        assert.ok(used <= LIMIT && used > LIMIT / 2, `${used} tokens`);
      });
    }

    it('explain nothing where an answer ends by itself', async () => {
      for (const { name, path, body, limit } of DIALECTS) {
        const request = { ...body('hello'), [limit]: 3, stream: true };
        const answer = await served.post(path, request, { 'x-user-id': `short-${name}` });
        assert.ok(!(await answer.text()).includes('llamero'), name);
      }
    });

    it('are never exceeded by many requests at once', async () => {
      const user = { 'x-user-id': 'greedy' };
      const asking = Array.from({ length: 12 }, (_, index) => {
        const dialect = DIALECTS[index % 3];
        assert.ok(dialect !== undefined);
        return served.post(dialect.path, { ...dialect.body(`Tell me number ${index}`), stream: true }, user);
      });
      let used = 0;
      for (const answer of await Promise.all(asking)) {
        const text = await answer.text();
        if (answer.status === 200) used += usedBy(text);
      }
      assert.ok(used > 0 && used <= LIMIT, `${used} tokens`);
    });

    it('are never exceeded by a prompt of more tokens than its bytes suggest', async () => {
      // Each of these is several tokens: the guess from the bytes is too low.
      const prompt = '~^|'.repeat(60);
      for (const { name, path, body } of DIALECTS) {
        const answer = await served.post(path, { ...body(prompt), stream: true }, { 'x-user-id': `dense-${name}` });
        const text = await answer.text();
        if (answer.status === 200) assert.ok(usedBy(text) <= LIMIT, `${name}: ${usedBy(text)} tokens`);
        else assert.match(text, /"code":"(request_too_large|rate_limit_exceeded)"/, name);
      }
    });

    it('are no trouble for the official clients', async () => {
      const openai = new OpenAI({ baseURL: `${served.url}/v1`, apiKey: 'none', maxRetries: 0 });
      const reasons: unknown[] = [];
      const messages = [{ role: 'user' as const, content: 'hello' }];
      const chat = openai.chat.completions.stream({ model: 'm', messages, stream: true }, as('sdk-chat'));
      reasons.push((await chat.finalChatCompletion()).choices[0]?.finish_reason);
      const text = await openai.completions.create({ model: 'm', prompt: 'hello', stream: true }, as('sdk-text'));
      for await (const part of text) if (part.choices[0]?.finish_reason) reasons.push(part.choices[0].finish_reason);
      const response = await openai.responses.create({ model: 'm', input: 'hello', stream: true }, as('sdk-responses'));
      const types: string[] = [];
      for await (const event of response) types.push(event.type);
      assert.deepEqual(types.slice(-2), ['response.llamero', 'response.completed']);
      const anthropic = new Anthropic({ baseURL: served.url, apiKey: 'none', maxRetries: 0 });
      const message = anthropic.messages.stream({ model: 'm', messages, max_tokens: 1500 }, as('sdk-messages'));
      reasons.push((await message.finalMessage()).stop_reason);
      assert.deepEqual(reasons, ['length', 'length', 'max_tokens']);
    });

    it('are charged for all choices, of which the engine tells the cost of one', async () => {
      for (const stream of [false, true]) {
        const user = { 'x-user-id': `choices-${stream}` };
        const request = { ...HELLO, max_tokens: 10, n: 3, stream };
        const answer = await served.post(CHAT, request, user);
        await answer.text();
        const next = await served.post(CHAT, { ...HELLO, max_tokens: 1 }, user);
        const used = LIMIT - Number(next.headers.get('x-ratelimit-remaining-tokens'));
        assert.ok(used >= 50 && used < 90, `${used} tokens, ${stream ? 'streamed' : 'whole'}`);
      }
    });

    it('refuse for good a prompt that no waiting would help', async () => {
      const answer = await served.post(
        CHAT,
        { messages: [{ role: 'user', content: 'word '.repeat(200) }] },
        { 'x-user-id': 'dora' },
      );
      assert.equal(answer.status, 413);
      assert.equal((await errorOf(answer)).code, 'request_too_large');
    });

    it('are charged for the prompt of an answer that nobody waited for', async () => {
      const limit = 1000;
      await using slowly = await serve({ model: await folder.model('slow'), rateLimit: { tokensPerMinute: limit } });
      const user = { 'x-user-id': 'impatient' };
      const controller = new AbortController();
      const left = nextEvent(slowly, 'error');
      const asking = slowly.post(CHAT, { messages: HELLO.messages, max_tokens: 900 }, user, controller.signal);
      await until(async () => (await fetch(`${slowly.url}/livez`)).ok && slowly.provider.status().slotsInUse === 1);
      controller.abort();
      await assert.rejects(asking);
      await left;
      const next = await slowly.post(CHAT, { ...HELLO, max_tokens: 1 }, user);
      const remaining = Number(next.headers.get('x-ratelimit-remaining-tokens'));
      assert.ok(remaining < limit - 15, `${remaining} tokens`);
    });
  });

  describe('of requests at once', () => {
    const LONG = { ...HELLO, max_tokens: 1900, stream: true };
    it('come back with the end of a request, its abort, and the death of its engine', async () => {
      await using served = await serve({
        model: await folder.model('slow'),
        engine: { parallel: 4 },
        rateLimit: { maxConcurrent: 2 },
        streamContinuation: 'off',
      });
      const user = { 'x-user-id': 'eve' };
      const open = async () => {
        const controller = new AbortController();
        const answer = await served.post(CHAT, LONG, user, controller.signal);
        assert.equal(answer.status, 200);
        const reader = new StreamReader(answer);
        await reader.until('data: ');
        return { controller, reader };
      };
      const assertFull = async () => {
        const third = await served.post(CHAT, HELLO, user);
        assert.equal(third.status, 429);
        assert.equal(third.headers.get('retry-after'), '1');
        assert.match((await errorOf(third)).message, /2 requests in flight/);
      };
      const [first, second] = [await open(), await open()];
      await assertFull();
      assert.equal(
        (await served.post(CHAT, { ...HELLO, max_tokens: 1 }, { 'x-user-id': 'frank' })).status,
        200,
        'others are served',
      );

      const aborted = nextEvent(served, 'error');
      first.controller.abort();
      await assert.rejects(first.reader.rest());
      assert.equal((await aborted).error.code, 'cancelled');
      const third = await open();
      await assertFull();

      process.kill(served.provider.status().pid ?? 0, 'SIGKILL');
      for (const { reader } of [second, third]) assert.match(await reader.rest(), /"code":"stream_interrupted"/);
      const again = [await open(), await open()];
      await assertFull();
      for (const { controller } of again) controller.abort();
    });

    it('are held by streams that go on with the next engine, and come back with their end', async () => {
      await using served = await serve({
        model: await folder.model('slow'),
        engine: { parallel: 4, restart: { delay: 1 } },
        rateLimit: { maxConcurrent: 2 },
      });
      const user = { 'x-user-id': 'grace' };
      const readers = [];
      for (let count = 0; count < 2; count += 1) {
        const reader = new StreamReader(await served.post(CHAT, { ...LONG, max_tokens: 60 }, user));
        await reader.until('data: ');
        readers.push(reader);
      }
      process.kill(served.provider.status().pid ?? 0, 'SIGKILL');
      await readers[0]?.until(': continued');
      assert.equal((await served.post(CHAT, HELLO, user)).status, 429);
      for (const reader of readers) assert.match(await reader.rest(), /data: \[DONE\]\n\n$/);
      assert.equal((await served.post(CHAT, HELLO, user)).status, 200);
    });
  });
});

/** Prompt and completion tokens of a stream, by its own account. */
function usedBy(stream: string): number {
  const counts = dataOf(stream).map((data) => tokenCountsOf('message' in data ? data['message'] : data));
  const prompt = Math.max(...counts.map((one) => one?.promptTokens ?? 0));
  return prompt + (counts.findLast((one) => one !== null && one.completionTokens > 0)?.completionTokens ?? 0);
}

/** Options of a call of the official clients on behalf of that user. */
function as(user: string) {
  return { headers: { 'x-user-id': user } };
}
