import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { LlamaCppProvider } from '../../core/llm/llama-cpp-provider.ts';
import { writeTinyModel } from '../../testing/index.ts';
import { createGateway, type Gateway } from '../gateway.ts';
import { post, RawClient, sendRaw } from './raw-client.ts';

const CHAT = '/v1/chat/completions';
const HELLO = { messages: [{ role: 'user', content: 'hello' }], max_tokens: 8, temperature: 0 };
/** Long enough that it is still running whatever a test does meanwhile. */
const LONG = { ...HELLO, max_tokens: 3500, ignore_eos: true, stream: true };

/** The gateway on a real provider with a real llama-server. */
describe('the gateway in front of llama-server', { timeout: 120_000 }, () => {
  let folder = '';
  let provider: LlamaCppProvider;
  let gateway: Gateway;
  let url = '';
  let port = 0;
  let ends = 0;

  before(async () => {
    assert.ok(process.env['LLAMA_SERVER_PATH'], 'LLAMA_SERVER_PATH must be set');
    folder = await mkdtemp(path.join(tmpdir(), 'llamero-gateway-'));
    const model = path.join(folder, 'tiny.gguf');
    await writeTinyModel(model);
    provider = new LlamaCppProvider({
      model,
      // One thread: more only wait for each other where the cores are busy.
      engine: { args: ['-t', '1'], ctxSize: 4096, parallel: 2 },
      gateway: { port: 'auto' },
    });
    provider.on('engine-exit', () => (ends += 1));
    await provider.start();
    gateway = createGateway({ provider, config: provider.config });
    ({ url, port } = await gateway.listen());
  });
  after(async () => {
    await gateway.stop();
    await provider.stop();
    await rm(folder, { recursive: true });
  });

  const call = (body: unknown, where = CHAT) =>
    fetch(url + where, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });

  it('answers, streams and lists', async () => {
    const whole = (await (await call(HELLO)).json()) as { choices: { message: { content: string } }[] };
    const streamed = await (await call({ ...HELLO, stream: true })).text();
    assert.ok(streamed.endsWith('data: [DONE]\n\n'));
    const deltas = streamed
      .split('\n\n')
      .filter((event) => event.startsWith('data: {'))
      .map(
        (event) =>
          (JSON.parse(event.slice(6)) as { choices: { delta: { content?: string } }[] }).choices[0]?.delta.content ??
          '',
      );
    assert.equal(deltas.join(''), whole.choices[0]?.message.content);
    const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] };
    const id = data[0]?.id ?? '';
    const one = (await (await fetch(`${url}/v1/models/${id}`)).json()) as { id: string };
    assert.equal(one.id, id);
    for (const where of ['/props', '/slots', '/health', '/admin/status']) {
      assert.equal((await fetch(url + where)).status, 200, where);
    }
  });

  it('reads a key that is given twice as the engine reads it', async () => {
    const messages = JSON.stringify(HELLO.messages);
    const answer = await call(`{"messages":${messages},"max_tokens":50,"stream":true,"max_tokens":2,"stream":false}`);
    const { usage } = (await answer.json()) as { usage: { completion_tokens: number } };
    assert.equal(usage.completion_tokens, 2);
    const streamed = await call(`{"messages":${messages},"max_tokens":2,"stream":false,"stream":true}`);
    assert.match(await streamed.text(), /data: \[DONE\]\n\n$/);
  });

  it('frees the slot when the client of a stream goes', async () => {
    using client = new RawClient(port);
    client.send(post(CHAT, JSON.stringify(LONG)));
    await client.until('data: ');
    client.socket.destroy();
    await once(provider.events, 'error');
    // The engine says itself when it is idle again; the question is asked as often as it can be answered.
    const startedAt = performance.now();
    for (;;) {
      const slots = (await (await fetch(`${url}/slots`)).json()) as { is_processing: boolean }[];
      if (!slots.some((slot) => slot.is_processing)) break;
      assert.ok(performance.now() - startedAt < 5000, 'the slot stays taken');
    }
  });

  const mistakes: [name: string, body: unknown, where?: string][] = [
    ['a negative max_tokens', { ...HELLO, max_tokens: -5 }],
    ['max_tokens as text', { ...HELLO, max_tokens: 'x' }],
    ['temperature as object', { ...HELLO, temperature: {} }],
    ['no messages', {}],
    ['messages as object', { messages: {} }],
    ['messages of numbers', { messages: [1] }],
    ['messages of nothing', { messages: [null] }],
    ['no content', { messages: [{ role: 'user' }] }],
    ['content as number', { messages: [{ role: 'user', content: 5 }] }],
    ['an unknown part', { messages: [{ role: 'user', content: [{ type: 'x' }] }] }],
    ['an unknown response format', { ...HELLO, response_format: { type: 'xml' } }],
    [
      'an impossible schema',
      { ...HELLO, response_format: { type: 'json_schema', json_schema: { schema: { type: 'alien' } } } },
    ],
    ['a broken grammar', { ...HELLO, grammar: 'this is not a grammar' }],
    ['a broken grammar in a stream', { ...HELLO, grammar: 'this is not a grammar', stream: true }],
    [
      'a grammar that would crash the engine',
      { ...HELLO, grammar: `root ::= ${'('.repeat(200_000)}"a"${')'.repeat(200_000)}` },
    ],
    ['penalties that would eat all memory', { ...HELLO, dry_multiplier: 1, dry_penalty_last_n: 2_147_483_647 }],
    [
      'a trigger that would hang the engine',
      { ...HELLO, grammar: 'root ::= "x"', grammar_lazy: true, grammar_triggers: [{ type: 2, value: '(.*)*(.*)*Q' }] },
    ],
    ['a prompt that is too long', { messages: [{ role: 'user', content: 'word '.repeat(5000) }] }],
    ['no prompt', {}, '/v1/completions'],
    ['a prompt of unknown tokens', { prompt: [999_999_999] }, '/v1/completions'],
    ['an input of numbers', { input: 5 }, '/v1/responses'],
    ['a previous response', { input: 'a', previous_response_id: 'x' }, '/v1/responses'],
    ['messages as number', { max_tokens: 2, messages: [{ role: 'user', content: 5 }] }, '/v1/messages'],
    ['a template without messages', {}, '/apply-template'],
  ];
  for (const [name, body, where = CHAT] of mistakes) {
    it(`tells the caller of ${name}`, async () => {
      const answer = await call(body, where);
      assert.equal(answer.status, 400);
      const { error } = (await answer.json()) as { error: Record<string, unknown> };
      assert.deepEqual(Object.keys(error), ['message', 'type', 'param', 'code']);
      assert.match(String(error['code']), /^(invalid_request|context_length_exceeded)$/);
      assert.equal((await call({ ...HELLO, max_tokens: 1 })).status, 200, 'the next request is served');
      assert.equal(ends, 0, 'the engine lives on');
    });
  }

  it('reads no file and calls nobody', async () => {
    for (const where of [CHAT, '/apply-template', '/v1/messages/count_tokens']) {
      for (const at of ['file:///etc/hostname', `http://127.0.0.1:${port}/health`]) {
        const answer = await call(
          { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: at } }] }] },
          where,
        );
        assert.equal(answer.status, 403, where);
      }
    }
  });

  // Last, since it ends the gateway.
  it('drains: a stream that takes too long ends with an error event', async () => {
    using client = new RawClient(port);
    client.send(post(CHAT, JSON.stringify(LONG)));
    await client.until('data: ');
    await gateway.drain({ timeoutMs: 20 });
    const received = await client.rest();
    assert.match(received, /data: \{"error":\{"message":"llamero is shutting down\."[^\n]*\n\n\r\n0\r\n\r\n$/);
    await assert.rejects(sendRaw(port, post(CHAT, JSON.stringify(HELLO))));
  });
});
