import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { describe, it } from 'node:test';
import { type ConfigInput, parseConfig } from '../../core/config.ts';
import { LlameroError } from '../../core/errors.ts';
import { createGateway, type GatewayOptions } from '../gateway.ts';
import { post, RawClient, sendRaw } from './raw-client.ts';
import { echo, hold, ScriptedBackend } from './scripted-backend.ts';

const CHAT = '/v1/chat/completions';
const STREAM = '{"stream":true}';

/** A gateway on a free port, stopped at the end of the scope. */
async function serve(backend: ScriptedBackend, config: ConfigInput = {}, options: Partial<GatewayOptions> = {}) {
  const gateway = createGateway({
    provider: backend,
    config: parseConfig({ ...config, gateway: { port: 'auto', ...config.gateway } }),
    ...options,
  });
  const address = await gateway.listen();
  return {
    gateway,
    ...address,
    post: (path: string, body: string, headers: Record<string, string> = {}) =>
      fetch(address.url + path, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json', ...headers },
      }),
    async [Symbol.asyncDispose]() {
      await gateway.stop();
    },
  };
}

async function errorOf(response: Response): Promise<Record<string, unknown>> {
  const body = (await response.json()) as { error: Record<string, unknown> };
  assert.deepEqual(Object.keys(body.error), ['message', 'type', 'param', 'code']);
  return body.error;
}

describe('the gateway', { timeout: 30_000 }, () => {
  it('relays bodies unchanged, both ways', async () => {
    const answer = Buffer.from(' {"text":"äöü \u{1F999}", "unknown" : [1,2 ,3]}\n');
    const backend = new ScriptedBackend((exchange) => {
      exchange.head();
      exchange.sink.onData(answer);
      exchange.end();
    });
    await using served = await serve(backend);
    const body = '{ "messages":[], "unknown":{"field":1.0e0}, "messages":[] ,"ü":"\\u00fc"}';
    const response = await served.post(`${CHAT}?a=1&b=%20`, body);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), 'application/json; charset=utf-8');
    assert.deepEqual(Buffer.from(await response.arrayBuffer()), answer);
    const seen = backend.seen[0]?.request;
    assert.equal(seen?.body?.toString(), body);
    assert.equal(seen?.query, '?a=1&b=%20');
    assert.equal(seen?.route.path, CHAT);
    assert.equal(seen?.stream, false);
  });

  it('tells id and timing on every answer, and takes a sane id from the caller', async () => {
    await using served = await serve(new ScriptedBackend());
    const taken = await served.post(CHAT, '{}', { 'x-request-id': 'abc-1.2/3' });
    assert.equal(taken.headers.get('x-request-id'), 'abc-1.2/3');
    assert.equal(taken.headers.get('server-timing'), 'queue;dur=1.3, engine;dur=2');
    for (const bad of ['a b', 'x'.repeat(129), 'ü']) {
      const made = await served.post('/nope', '{}', { 'x-request-id': bad });
      assert.match(made.headers.get('x-request-id') ?? '', /^req_[\w-]{12}_[0-9a-z]+$/);
    }
    const own = await fetch(`${served.url}/health`, { headers: { 'x-request-id': 'own' } });
    assert.equal(own.headers.get('x-request-id'), 'own');
  });

  it('passes a well-formed trace on, and no other header', async () => {
    const backend = new ScriptedBackend();
    await using served = await serve(backend);
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    await served.post(CHAT, '{}', { traceparent, cookie: 'a=b', authorization: 'Bearer secret' });
    await served.post(CHAT, '{}', { traceparent: '00-0-0-0' });
    assert.deepEqual(backend.seen[0]?.request.headers, { traceparent });
    assert.equal(backend.seen[1]?.request.headers, undefined);
  });

  it('takes the shortest of the time limits', async () => {
    assert.equal(await limitOf({}, '{}'), null, 'local: none');
    assert.equal(await limitOf({}, '{}', '500'), 500);
    assert.equal(await limitOf({ profile: 'production' }, '{}'), 60_000);
    assert.equal(await limitOf({ profile: 'production' }, '{}', '90000'), 60_000);
    assert.equal(await limitOf({ profile: 'production' }, STREAM), null, 'a stream is bounded by its phases');
    assert.equal(await limitOf({ timeouts: { total: 5000 } }, STREAM), 5000);
    assert.equal(await limitOf({ gateway: { host: '0.0.0.0' } }, '{}'), 60_000, 'bound beyond loopback');
  });

  it('answers errors of the engine with their status, and asks for patience', async () => {
    const errors = [
      new LlameroError('context_length_exceeded', 'Too long.', { param: 'messages' }),
      new LlameroError('queue_full', 'Full.', { retryAfterMs: 1200 }),
      new LlameroError('engine_error', 'Broken.'),
    ];
    await using served = await serve(new ScriptedBackend((exchange) => exchange.fail(errors.shift() as LlameroError)));
    const tooLong = await served.post(CHAT, '{}');
    assert.equal(tooLong.status, 400);
    assert.deepEqual(await errorOf(tooLong), {
      message: 'Too long.',
      type: 'invalid_request_error',
      param: 'messages',
      code: 'context_length_exceeded',
    });
    const full = await served.post(CHAT, '{}');
    assert.equal(full.status, 503);
    assert.equal(full.headers.get('retry-after'), '2', 'whole seconds, rounded up');
    const broken = await served.post('/v1/messages', '{}');
    assert.equal(broken.status, 502);
    assert.deepEqual(await broken.json(), {
      type: 'error',
      error: { message: 'Broken.', type: 'engine_error', param: null, code: 'engine_error' },
    });
  });

  it('survives a backend that throws', async () => {
    await using served = await serve(
      new ScriptedBackend(() => {
        throw new Error('secret /path');
      }),
    );
    const response = await served.post(CHAT, '{}');
    assert.equal(response.status, 500);
    assert.equal((await errorOf(response))['message'], 'Unexpected failure inside llamero.');
  });

  it('knows its routes and their methods', async () => {
    await using served = await serve(new ScriptedBackend());
    const models = await fetch(`${served.url}/v1/models`);
    assert.equal(models.status, 200);
    const headOnly = await fetch(`${served.url}/v1/models`, { method: 'HEAD' });
    assert.equal(headOnly.status, 200);
    assert.equal(headOnly.headers.get('content-length'), String((await models.text()).length));
    for (const [method, path, allow] of [
      ['GET', CHAT, 'POST, OPTIONS'],
      ['PUT', '/props', 'GET, HEAD, OPTIONS'],
      ['DELETE', '/health', 'GET, HEAD, OPTIONS'],
      ['POST', '/v1/models/tiny', 'GET, HEAD, OPTIONS'],
    ] as const) {
      const wrong = await fetch(served.url + path, { method });
      assert.equal(wrong.status, 405, path);
      assert.equal(wrong.headers.get('allow'), allow);
      assert.equal((await errorOf(wrong))['code'], 'method_not_allowed');
    }
    const options = await fetch(served.url + CHAT, { method: 'OPTIONS' });
    assert.equal(options.status, 204);
    assert.equal(options.headers.get('allow'), 'POST, OPTIONS');
    for (const path of ['/', '/metrics', '/dashboard', '/v1', '/v1/models/']) {
      assert.equal((await fetch(served.url + path)).status, 404, path);
    }
  });

  it('tells one model, or which there are', async () => {
    await using served = await serve(new ScriptedBackend());
    const one = await fetch(`${served.url}/v1/models/a/b:Q4`);
    assert.deepEqual(await one.json(), { id: 'a/b:Q4' });
    const encoded = await fetch(`${served.url}/v1/models/a%2Fb%3AQ4`);
    assert.deepEqual(await encoded.json(), { id: 'a/b:Q4' });
    const none = await fetch(`${served.url}/v1/models/gpt-4`);
    assert.equal(none.status, 404);
    const error = await errorOf(none);
    assert.equal(error['code'], 'model_not_found');
    assert.match(String(error['message']), /'a\/b:Q4', 'tiny'/);
  });

  it('tells its health', async () => {
    const backend = new ScriptedBackend();
    await using served = await serve(backend);
    for (const path of ['/health', '/readyz', '/livez']) {
      const response = await fetch(served.url + path);
      assert.equal(response.status, 200, path);
      assert.deepEqual(await response.json(), { status: 'ok' });
    }
    backend.state = 'starting';
    assert.equal((await fetch(`${served.url}/livez`)).status, 200);
    const starting = await fetch(`${served.url}/health`);
    assert.equal(starting.status, 503);
    assert.equal(starting.headers.get('retry-after'), '1');
    const body = (await starting.json()) as Record<string, Record<string, unknown>>;
    assert.equal(body['status'], 'starting');
    assert.equal(body['error']?.['code'], 'engine_starting');
    const status = (await (await fetch(`${served.url}/admin/status`)).json()) as Record<
      string,
      Record<string, unknown>
    >;
    assert.equal(status['state'], 'starting');
    assert.equal(status['gateway']?.['url'], served.url);
  });

  it('lets permitted pages call, and no others', async () => {
    const backend = new ScriptedBackend();
    await using served = await serve(backend, { gateway: { corsOrigins: ['http://app.example'] } });
    const page = { origin: 'http://app.example' };
    const preflight = await fetch(served.url + CHAT, {
      method: 'OPTIONS',
      headers: {
        ...page,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'x-my, content-type',
      },
    });
    assert.equal(preflight.headers.get('access-control-allow-origin'), page.origin);
    assert.equal(preflight.headers.get('access-control-allow-headers'), 'x-my, content-type');
    for (const response of [
      await served.post(CHAT, '{}', page),
      await served.post(CHAT, '{', page),
      await fetch(`${served.url}/health`, { headers: page }),
      await fetch(`${served.url}/nope`, { headers: page }),
    ]) {
      assert.equal(response.headers.get('access-control-allow-origin'), page.origin);
      assert.equal(response.headers.get('vary'), 'Origin');
    }
    const reached = backend.seen.length;
    const foreign = await served.post(CHAT, '{}', { origin: 'http://evil.example' });
    assert.equal(foreign.status, 403);
    assert.equal(foreign.headers.get('access-control-allow-origin'), null);
    assert.equal(backend.seen.length, reached);
  });

  it('holds only so many bytes of bodies, and gives them free again', async () => {
    const backend = new ScriptedBackend(hold);
    const config = { memoryLimit: 64, gateway: { bodyLimit: 4 * 1024 * 1024 } };
    await using served = await serve(backend, config);
    // A quarter of 64 MB: four bodies of nearly 4 MB fit, a fifth does not.
    const body = `{"a":"${'x'.repeat(4_000_000)}"}`;
    const waiting = [];
    for (let count = 0; count < 4; count += 1) {
      const arriving = backend.next();
      waiting.push(served.post(CHAT, body));
      await arriving;
    }
    const refused = await sendRaw(served.port, post(CHAT, body));
    assert.equal(refused.status, 503);
    assert.equal(refused.headers['retry-after'], '1');
    assert.match(refused.body, /"code":"memory_pressure"/);
    for (const exchange of backend.seen) exchange.answer('{}');
    for (const response of await Promise.all(waiting)) assert.equal(response.status, 200);
    const arriving = backend.next();
    const again = served.post(CHAT, body);
    (await arriving).answer('{}');
    assert.equal((await again).status, 200);
  });

  it('names a port that is taken, and can be told another', async () => {
    await using first = await serve(new ScriptedBackend());
    const config = parseConfig({ gateway: { port: first.port } });
    await using second = createGateway({ provider: new ScriptedBackend(), config });
    await assert.rejects(second.listen(), (error: LlameroError) => {
      assert.equal(error.code, 'invalid_options');
      assert.equal(error.details['reason'], 'EADDRINUSE');
      return true;
    });
    const { url } = await second.listen({ port: 0 });
    assert.equal((await fetch(`${url}/health`)).status, 200);
  });
});

describe('streams', { timeout: 30_000 }, () => {
  it('keeps the order of events, however they are paced', async () => {
    const backend = new ScriptedBackend(hold);
    await using served = await serve(backend);
    const arriving = backend.next();
    const answering = served.post(CHAT, STREAM);
    const { sink } = await arriving;
    sink.onHead({ status: 200, contentType: 'text/event-stream', queueMs: 0, engineMs: 0 });
    const events = Array.from({ length: 200 }, (_, index) => `data: {"number":${index}}\n\n`);
    for (const [index, event] of events.entries()) {
      sink.onData(Buffer.from(event));
      // Together, apart, and so that the pacer comes late: the event loop is held up for longer than a pace.
      if (index % 7 === 3) await new Promise(setImmediate);
      if (index % 50 === 20) for (const until = performance.now() + 15; performance.now() < until;);
    }
    sink.onEnd();
    assert.equal(await (await answering).text(), events.join(''));
  });

  it('relays events as they come', async () => {
    const backend = new ScriptedBackend(hold);
    await using served = await serve(backend);
    const arriving = backend.next();
    const answering = served.post(CHAT, STREAM);
    const exchange = await arriving;
    assert.equal(exchange.request.stream, true);
    exchange.head();
    const response = await answering;
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), 'text/event-stream');
    assert.equal(response.headers.get('cache-control'), 'no-cache');
    assert.equal(response.headers.get('x-accel-buffering'), 'no');
    assert.match(response.headers.get('server-timing') ?? '', /^queue;dur=/);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    exchange.event('1');
    assert.equal(Buffer.from((await reader.read()).value ?? []).toString(), 'data: 1\n\n');
    exchange.event('2');
    exchange.event('3');
    assert.equal(Buffer.from((await reader.read()).value ?? []).toString(), 'data: 2\n\ndata: 3\n\n');
    exchange.end();
    assert.equal((await reader.read()).done, true);
  });

  it('asks for no stream where the route has none', async () => {
    const backend = new ScriptedBackend();
    await using served = await serve(backend);
    assert.equal((await served.post('/v1/embeddings', STREAM)).status, 200);
    assert.equal(backend.seen[0]?.request.stream, false);
  });

  const interrupted = new LlameroError('stream_interrupted', 'The engine was lost.');
  const object = '{"message":"The engine was lost.","type":"engine_error","param":null,"code":"stream_interrupted"}';
  for (const [path, expected] of [
    [CHAT, `data: {"error":${object}}\n\n`],
    ['/v1/completions', `data: {"error":${object}}\n\n`],
    ['/completion', `data: {"error":${object}}\n\n`],
    ['/v1/messages', `event: error\ndata: {"type":"error","error":${object}}\n\n`],
    [
      '/v1/responses',
      `event: error\ndata: {"type":"error","code":"stream_interrupted","message":"The engine was lost.","param":null,"error":${object}}\n\n`,
    ],
  ] as const) {
    it(`ends a broken stream of ${path} with an error event`, async () => {
      const backend = new ScriptedBackend((exchange) => {
        exchange.head();
        exchange.event('1');
        exchange.fail(interrupted);
      });
      await using served = await serve(backend);
      const response = await served.post(path, STREAM);
      assert.equal(response.status, 200);
      assert.equal(await response.text(), `data: 1\n\n${expected}`);
    });
  }

  it('answers with a status when it fails before its head', async () => {
    await using served = await serve(new ScriptedBackend((exchange) => exchange.fail(interrupted)));
    const response = await served.post(CHAT, STREAM);
    assert.equal(response.status, 502);
    assert.equal((await errorOf(response))['code'], 'stream_interrupted');
  });

  it('cancels when the client goes, at every stage', async () => {
    const backend = new ScriptedBackend(hold);
    await using served = await serve(backend);
    for (const body of ['{}', STREAM]) {
      const arriving = backend.next();
      using client = new RawClient(served.port);
      client.send(post(CHAT, body));
      const exchange = await arriving;
      if (body === STREAM) {
        exchange.head();
        exchange.event('1');
        await client.until('data: 1');
      }
      client.socket.destroy();
      assert.equal((await exchange.cancelled).code, 'cancelled');
    }
  });

  it('cancels pipelined requests as well when the client goes', async () => {
    const backend = new ScriptedBackend(hold);
    await using served = await serve(backend);
    using client = new RawClient(served.port);
    const first = backend.next();
    client.send(Buffer.concat([post(CHAT, '{}'), post(CHAT, STREAM)]));
    const waiting = await first;
    const behind = backend.seen[1] ?? (await backend.next());
    client.socket.destroy();
    await Promise.all([waiting.cancelled, behind.cancelled]);
  });

  it('sends a comment while a stream is silent', async () => {
    const backend = new ScriptedBackend(hold);
    await using served = await serve(backend, {}, { limits: { heartbeatIntervalMs: 20 } });
    const arriving = backend.next();
    using client = new RawClient(served.port);
    client.send(post(CHAT, STREAM));
    const exchange = await arriving;
    exchange.head();
    exchange.event('1');
    assert.match(await client.until(': heartbeat'), /data: 1\n\n.*: heartbeat\n\n/s);
    exchange.event('[DONE]');
    exchange.end();
    assert.match(await client.until('\r\n0\r\n\r\n'), /: heartbeat\n\n.*data: \[DONE\]\n\n\r\n0\r\n\r\n$/s);
  });

  it('pauses for a slow reader and goes on when it reads again', async () => {
    const backend = new ScriptedBackend(hold);
    await using served = await serve(backend);
    const arriving = backend.next();
    const response = startStream(served.port);
    const exchange = await arriving;
    exchange.head();
    const event = 'x'.repeat(16 * 1024);
    let sent = 0;
    // The kernel takes some megabytes; then the gateway must say stop instead of buffering on.
    while (exchange.event(event)) {
      sent += 1;
      assert.ok(sent < 5000, 'never told to pause');
      await new Promise(setImmediate);
    }
    const resumed = exchange.resumed();
    const incoming = await response;
    let received = 0;
    incoming.on('data', (chunk: Buffer) => (received += chunk.length));
    await resumed;
    exchange.end();
    await once(incoming, 'end');
    assert.equal(received, (sent + 1) * (event.length + 'data: \n\n'.length), 'nothing lost');
  });

  it('drops a client that never reads', async () => {
    const backend = new ScriptedBackend(hold);
    await using served = await serve(backend, {}, { limits: { heartbeatIntervalMs: 20, stalledClientMs: 100 } });
    const arriving = backend.next();
    using client = new RawClient(served.port);
    client.socket.pause();
    client.send(post(CHAT, STREAM));
    const exchange = await arriving;
    exchange.head();
    const event = 'x'.repeat(16 * 1024);
    while (exchange.event(event)) await new Promise(setImmediate);
    assert.equal((await exchange.cancelled).code, 'cancelled');
  });

  it('drops a client that takes no whole answer either', async () => {
    const answer = `"${'x'.repeat(32 * 1024 * 1024)}"`;
    const backend = new ScriptedBackend((exchange) => exchange.answer(answer));
    await using served = await serve(backend, {}, { limits: { heartbeatIntervalMs: 20, stalledClientMs: 100 } });
    using client = new RawClient(served.port);
    client.socket.pause();
    client.send(post(CHAT, '{}'));
    await backend.next();
    // Only a reader notices the end; what it gets is less than the answer.
    await answersOnTheWay(served.url, 0);
    client.socket.resume();
    assert.ok((await client.rest()).length < answer.length);
  });

  it('serves HTTP/1.0 without chunks', async () => {
    await using served = await serve(
      new ScriptedBackend((exchange) => {
        exchange.head();
        exchange.event('1');
        exchange.event('[DONE]');
        exchange.end();
      }),
    );
    using client = new RawClient(served.port);
    client.send(`POST ${CHAT} HTTP/1.0\r\nContent-Length: ${STREAM.length}\r\n\r\n${STREAM}`);
    assert.match(await client.rest(), /^HTTP\/1\.1 200 OK\r\n(?!.*chunked).*\r\n\r\ndata: 1\n\ndata: \[DONE\]\n\n$/s);
  });
});

describe('draining', { timeout: 30_000 }, () => {
  it('lets running requests finish and accepts no new ones', async () => {
    const backend = new ScriptedBackend(hold);
    await using served = await serve(backend);
    using idle = new RawClient(served.port);
    idle.send('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await idle.answer();
    const arriving = backend.next();
    using client = new RawClient(served.port);
    client.send(post(CHAT, '{}'));
    const exchange = await arriving;

    const drained = served.gateway.drain({ timeoutMs: 20_000 });
    await idle.rest();
    await assert.rejects(sendRaw(served.port, 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n'));
    exchange.answer('{"late":1}');
    const answer = await client.answer();
    assert.equal(answer.body, '{"late":1}');
    assert.equal(answer.headers['connection'], 'close');
    await drained;
  });

  it('tells on open connections that it drains', async () => {
    const backend = new ScriptedBackend(hold);
    await using served = await serve(backend);
    using client = new RawClient(served.port);
    const arriving = backend.next();
    // The second and third request wait on this connection while the first is answered.
    client.send(post(CHAT, '{"n":1}'));
    const exchange = await arriving;
    const drained = served.gateway.drain({ timeoutMs: 20_000 });
    client.send(post(CHAT, '{"n":2}'));
    client.send('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await new Promise(setImmediate);
    exchange.answer('{}');
    assert.equal((await client.answer()).body, '{}');
    await drained;
    assert.equal(backend.seen.length, 1);
  });

  it('ends the rest when the grace time is over', async () => {
    const backend = new ScriptedBackend(hold);
    await using served = await serve(backend);
    let arriving = backend.next();
    using streaming = new RawClient(served.port);
    streaming.send(post(CHAT, STREAM));
    const stream = await arriving;
    stream.head();
    stream.event('1');
    arriving = backend.next();
    using waiting = new RawClient(served.port);
    waiting.send(post(CHAT, '{}'));
    await arriving;
    using sending = new RawClient(served.port);
    sending.send(`POST ${CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n`);
    await sending.until('100 Continue\r\n\r\n');
    sending.take();
    await streaming.until('data: 1');

    await served.gateway.drain({ timeoutMs: 50 });
    const rest = await streaming.rest();
    assert.match(
      rest,
      /data: 1\n\n.*data: \{"error":\{"message":"llamero is shutting down\.".*"code":"engine_unavailable"/s,
    );
    assert.ok(rest.endsWith('\r\n0\r\n\r\n'), 'the stream is ended properly');
    assert.ok(!rest.includes('[DONE]'));
    for (const client of [waiting, sending]) {
      const answer = await client.answer();
      assert.equal(answer.status, 503);
      assert.equal(answer.headers['retry-after'], '1');
      assert.match(answer.body, /"code":"engine_unavailable"/);
    }
    assert.equal(stream.cancelledWith?.code, 'engine_unavailable');
  });

  it('stops at once when told during a drain, and twice is once', async () => {
    const backend = new ScriptedBackend(hold);
    await using served = await serve(backend);
    const arriving = backend.next();
    using client = new RawClient(served.port);
    client.send(post(CHAT, '{}'));
    await arriving;
    const drained = served.gateway.drain({ timeoutMs: 25_000 });
    await Promise.all([served.gateway.stop(), served.gateway.stop(), drained]);
    assert.equal((await client.answer()).status, 503);
  });

  it('stops without ever having listened', async () => {
    const gateway = createGateway({ provider: new ScriptedBackend(echo), config: parseConfig({}) });
    await gateway.stop();
  });
});

/** The time limit that reaches the backend. */
async function limitOf(config: ConfigInput, body: string, asked?: string): Promise<number | null | undefined> {
  const backend = new ScriptedBackend();
  await using served = await serve(backend, config);
  await served.post(CHAT, body, asked === undefined ? {} : { 'x-request-timeout': asked });
  return backend.seen[0]?.request.timeoutMs;
}

/** Waits until so many answers are on their way, by the gateway's own account. */
async function answersOnTheWay(url: string, count: number): Promise<void> {
  for (;;) {
    const status = (await (await fetch(`${url}/admin/status`)).json()) as { gateway: { openAnswers: number } };
    if (status.gateway.openAnswers === count) return;
  }
}

/** Starts a stream whose answer nobody reads yet. */
function startStream(port: number): Promise<IncomingMessage> {
  const client = httpRequest({ port, path: CHAT, method: 'POST', headers: { 'content-type': 'application/json' } });
  client.end(STREAM);
  return once(client, 'response').then(([incoming]) => incoming as IncomingMessage);
}
