import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import {
  CONTINUED_TOKENS,
  EXACT_CONTINUATION,
  LONG_ANSWER_TOKENS,
  NO_CONTINUATION,
  ServeProcess,
  slotFreedAfterMs,
} from './serve-process.ts';

/** Clients without a package, against a running `llamero serve`: `fetch` and `node:http`. */

const TEN = Array.from({ length: 10 }, (_, index) => index);
const CHAT = '/v1/chat/completions';
const messages = [{ role: 'user', content: 'Tell me about llamas.' }];

interface Answer {
  choices: { message: { content: string }; finish_reason: string }[];
  usage: { completion_tokens: number };
}

describe('plain HTTP', { timeout: 60_000 }, () => {
  let serve: ServeProcess;
  let headers: Record<string, string>;

  before(async () => {
    serve = await ServeProcess.start();
    headers = { authorization: `Bearer ${serve.key}`, 'content-type': 'application/json' };
  });
  after(() => serve.stop());

  function post(body: unknown, signal?: AbortSignal, more: Record<string, string> = {}): Promise<Response> {
    const init = { method: 'POST', headers: { ...headers, ...more }, body: JSON.stringify(body) };
    return fetch(serve.url + CHAT, { ...init, signal });
  }

  /** A stream whose first bytes are there. */
  async function beginStream(signal?: AbortSignal): Promise<ReadableStreamDefaultReader<Uint8Array>> {
    const response = await post({ messages, max_tokens: LONG_ANSWER_TOKENS, stream: true }, signal);
    assert.ok(response.body !== null);
    const reader = response.body.getReader();
    await reader.read();
    return reader;
  }

  function send(body: unknown, agent: Agent | false): ClientRequest {
    const call = request(serve.url + CHAT, { method: 'POST', headers, agent });
    call.end(JSON.stringify(body));
    return call;
  }

  describe('fetch', () => {
    it('gets answers, ten times', async () => {
      for (const seed of TEN) {
        const response = await post({ messages, seed, max_tokens: 8 });
        assert.equal(response.status, 200);
        assert.match(response.headers.get('content-type') ?? '', /^application\/json/);
        assert.match(response.headers.get('x-request-id') ?? '', /\S/);
        assert.match(response.headers.get('server-timing') ?? '', /queue;dur=[\d.]+, engine;dur=[\d.]+/);
        const { choices, usage } = (await response.json()) as Answer;
        assert.equal(choices[0]?.finish_reason, 'length');
        assert.equal(usage.completion_tokens, 8);
      }
    });

    it('gets whole streams, ten times', async () => {
      for (const seed of TEN) {
        const response = await post({ messages, seed, max_tokens: 8, stream: true });
        assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/);
        assert.equal(response.headers.get('x-accel-buffering'), 'no');
        const body = await response.text();
        assert.match(body, /^data: \{.*"finish_reason":"length".*\n\ndata: \[DONE\]\n\n$/s);
      }
    });

    it('frees the slot within 100 ms when it is aborted or its body is cancelled', async () => {
      const aborted = await slotFreedAfterMs(serve, async () => {
        const cancellation = new AbortController();
        await beginStream(cancellation.signal);
        return () => cancellation.abort();
      });
      assert.ok(aborted < 100, `aborted: ${aborted} ms`);
      const cancelled = await slotFreedAfterMs(serve, async () => {
        const reader = await beginStream();
        return () => reader.cancel();
      });
      assert.ok(cancelled < 100, `cancelled: ${cancelled} ms`);
    });

    it('gets the whole stream when the engine is killed in the middle: nothing is lost or doubled', async () => {
      const question = { messages, max_tokens: CONTINUED_TOKENS, temperature: 0 };
      await serve.freshEngine();
      const whole = (await (await post(question)).json()) as Answer;
      const pid = await serve.freshEngine();
      const body = await readWithKill(await post({ ...question, stream: true }, undefined, EXACT_CONTINUATION), pid);
      assert.equal(contentOf(body), whole.choices[0]?.message.content);
      assert.equal(body.match(/"finish_reason":"length"/g)?.length, 1);
      assert.equal(body.match(/"role":"assistant"/g)?.length, 1);
      assert.equal(body.match(/^: continued$/gm)?.length, 1, 'only a comment tells of it');
      assert.match(body, /\n\ndata: \[DONE\]\n\n$/);
      assert.ok(!body.includes('"error"'));
    });

    it('gets an error event and no [DONE] when a stream may not go on, and is served after it', async () => {
      const { pid } = await serve.status();
      const question = { messages, max_tokens: LONG_ANSWER_TOKENS, stream: true };
      const body = await readWithKill(await post(question, undefined, NO_CONTINUATION), pid);
      const events = body.split('\n\n').filter((event) => event.startsWith('data: '));
      const { error } = JSON.parse(events.at(-1)?.slice('data: '.length) ?? '') as { error: Record<string, unknown> };
      assert.deepEqual(Object.keys(error), ['message', 'type', 'param', 'code']);
      assert.equal(error['code'], 'stream_interrupted');
      assert.ok(!body.includes('[DONE]'));
      assert.equal((await post({ messages, max_tokens: 4 })).status, 200);
    });

    it('is refused without a key, but may ask for health', async () => {
      const { authorization: _none, ...bare } = headers;
      const refused = await fetch(serve.url + CHAT, { method: 'POST', headers: bare, body: '{}' });
      assert.equal(refused.status, 401);
      assert.match(await refused.text(), /"code":"invalid_api_key"/);
      assert.equal((await fetch(`${serve.url}/health`)).status, 200);
    });
  });

  describe('node:http', () => {
    it('gets answers and streams over one connection, ten times', async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const ports = new Set<number | undefined>();
      try {
        for (const seed of TEN) {
          const whole = await responseTo(send({ messages, seed, max_tokens: 8 }, agent));
          ports.add(whole.socket.localPort);
          assert.equal((JSON.parse(await text(whole)) as Answer).usage.completion_tokens, 8);
          const stream = await responseTo(send({ messages, seed, max_tokens: 8, stream: true }, agent));
          ports.add(stream.socket.localPort);
          assert.match(await text(stream), /data: \[DONE\]\n\n$/);
        }
      } finally {
        agent.destroy();
      }
      assert.equal(ports.size, 1, 'the connection is kept');
    });

    it('frees the slot within 100 ms when its socket is destroyed', async () => {
      const freed = await slotFreedAfterMs(serve, async () => {
        const call = send({ messages, max_tokens: LONG_ANSWER_TOKENS, stream: true }, false);
        const response = await responseTo(call);
        await once(response, 'data');
        response.pause();
        response.on('error', () => undefined);
        return () => call.destroy();
      });
      assert.ok(freed < 100, `${freed} ms`);
    });

    it('reads a long stream slowly without losing a byte', async () => {
      const body = { messages, max_tokens: 600, temperature: 0, cache_prompt: false };
      const response = await responseTo(send({ ...body, stream: true }, false));
      let streamed = '';
      for await (const part of response.setEncoding('utf8')) {
        streamed += part;
        await new Promise(setImmediate);
      }
      const whole = await responseTo(send(body, false));
      const answer = JSON.parse(await text(whole)) as Answer;
      assert.equal(contentOf(streamed), answer.choices[0]?.message.content);
    });
  });

  it('has nothing in flight in the end', async () => {
    while ((await serve.status()).inFlight > 0);
    assert.equal(await serve.busySlots(), 0);
  });
});

async function responseTo(call: ClientRequest): Promise<IncomingMessage> {
  const [response] = (await once(call, 'response')) as [IncomingMessage];
  return response;
}

/** A whole stream, the engine being killed at its first part. */
async function readWithKill(response: Response, pid: number): Promise<string> {
  assert.ok(response.body !== null);
  let body = '';
  for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
    if (body === '') process.kill(pid, 'SIGKILL');
    body += part;
  }
  return body;
}

/** The text that the events of a chat stream add up to. */
function contentOf(stream: string): string {
  const events = stream.split('\n\n').filter((event) => event.startsWith('data: {'));
  return events
    .map((event) => JSON.parse(event.slice('data: '.length)) as { choices: { delta: { content?: string } }[] })
    .map(({ choices }) => choices[0]?.delta.content ?? '')
    .join('');
}
