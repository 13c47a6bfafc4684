import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type ConfigInput, parseConfig } from '../../core/config.ts';
import { LlameroError } from '../../core/errors.ts';
import { createMetrics } from '../../telemetry/metrics.ts';
import { observedProvider, valuesOf } from '../../telemetry/__tests__/observed-provider.ts';
import { createGateway } from '../gateway.ts';
import type { GatewayLimits } from '../limits.ts';
import { addApiKey } from '../key-store.ts';
import { post, RawClient, sendRaw } from './raw-client.ts';
import { echo, hold, ScriptedBackend } from './scripted-backend.ts';

const CHAT = '/v1/chat/completions';
const OK = '{"messages":[]}';
const LIMITS = { lingerMs: 200 };
/** For those alone who are late on purpose: a connection of anybody else may wait for a busy machine. */
const IMPATIENT = { ...LIMITS, headersTimeoutMs: 400, requestTimeoutMs: 600, connectionsCheckingIntervalMs: 50 };
const NAME = 'llamero_refused_requests_total';

const head = (...lines: string[]) => `${lines.join('\r\n')}\r\n\r\n`;
const get = (where: string, ...more: string[]) => head(`GET ${where} HTTP/1.1`, 'Host: localhost', ...more);
const chat = (body: string, ...more: string[]) => post(CHAT, body, more);

/** A gateway whose backend is in the hand of the test, with its metrics. */
async function serve(config: ConfigInput = {}, script = echo, limits: Partial<GatewayLimits> = LIMITS) {
  const observed = observedProvider();
  const backend = Object.assign(new ScriptedBackend(script), { events: observed.events });
  const metrics = createMetrics(observed, { process: false });
  const gateway = createGateway({
    provider: backend,
    config: parseConfig({ ...config, gateway: { port: 'auto', bodyLimit: 1024 * 1024, ...config.gateway } }),
    metrics,
    limits,
  });
  const { port } = await gateway.listen();
  return {
    backend,
    gateway,
    port,
    values: async () => valuesOf(await metrics.text()),
    /** The series of refusals that have moved, as `code fault route`, with how often. */
    refused: async () => {
      const lines = [...valuesOf(await metrics.text())].filter(([line]) => line.startsWith(NAME));
      return Object.fromEntries(
        lines.map(([line, value]) => [Array.from(line.matchAll(/"([^"]*)"/g), ([, label]) => label).join(' '), value]),
      );
    },
    [Symbol.asyncDispose]: async () => {
      await gateway.stop();
      metrics.stop();
    },
  };
}

/** What is sent, the status that comes back, and the one series that it moves; null: none. */
type Case = [name: string, request: string | Buffer, status: number, series: string | null];

const CASES: readonly Case[] = [
  [
    'a page of another origin',
    chat(OK, 'Origin: http://evil.example'),
    403,
    'permission_denied client chat.completions',
  ],
  ['another host', get('/metrics').replace('localhost', 'evil.example'), 403, 'permission_denied client metrics'],
  ['an address elsewhere', chat(OK, 'X-Forwarded-For: 203.0.113.9'), 401, 'invalid_api_key client chat.completions'],
  ['no such route', post('/secret/of/somebody', OK), 404, 'not_found client none'],
  [
    'another method',
    head(`DELETE ${CHAT} HTTP/1.1`, 'Host: localhost'),
    405,
    'method_not_allowed client chat.completions',
  ],
  ['another method of an own route', post('/metrics', OK), 405, 'method_not_allowed client metrics'],
  ['CONNECT', head('CONNECT example.org:443 HTTP/1.1', 'Host: example.org:443'), 405, 'method_not_allowed client none'],
  ['no JSON', chat('{"messages": [}'), 400, 'invalid_request client chat.completions'],
  ['a file as image', chat(imageOf('file:///etc/passwd')), 403, 'permission_denied client chat.completions'],
  ['a wrong header', chat(OK, 'X-Request-Timeout: soon'), 400, 'invalid_request client chat.completions'],
  ['two hosts', get('/v1/models', 'Host: localhost'), 400, 'invalid_request client models'],
  ['another kind of body', chat(OK, 'Content-Type: text/plain'), 415, 'invalid_request client chat.completions'],
  ['an unknown expectation', chat(OK, 'Expect: the-unexpected'), 417, 'invalid_request client chat.completions'],
  ['a body too large', chat('', 'Content-Length: 9999999'), 413, 'request_too_large client chat.completions'],
  ['a body that gets too large', chunked(2 * 1024 * 1024), 413, 'request_too_large client chat.completions'],
  ['headers too large', get('/v1/models', `X-Big: ${'x'.repeat(20_000)}`), 431, 'request_too_large client none'],
  ['no HTTP', 'hello\r\n\r\n', 400, 'invalid_request client none'],
  ['a broken chunk', chat('zz\r\n', 'Transfer-Encoding: chunked'), 400, 'invalid_request client chat.completions'],
  ['a slow head', 'GET /v1/mo', 408, 'request_timeout client none'],
  ['a slow body', chat('{"mess', 'Content-Length: 100'), 408, 'request_timeout client chat.completions'],
  ['a broken escape', get('/v1/models/%zz'), 400, 'invalid_request client models'],
  ['no such stream', get('/v1/streams/nothing'), 404, 'not_found client streams'],
  ['no such stream to end', head('DELETE /v1/streams/x HTTP/1.1', 'Host: localhost'), 404, 'not_found client streams'],
  ['no such engine', post('/admin/engines/x/restart', ''), 404, 'not_found client admin.engines.restart'],
  // Not refused.
  ['a request', chat(OK), 200, null],
  ['a stream', chat('{"messages":[],"stream":true}'), 200, null],
  ['a route of the gateway itself', get('/openapi.json'), 200, null],
  ['a preflight', head(`OPTIONS ${CHAT} HTTP/1.1`, 'Host: localhost'), 204, null],
  ['a model that there is not, which the engine was asked for', get('/v1/models/nothing'), 404, null],
];

function imageOf(url: string): string {
  return JSON.stringify({ messages: [{ content: [{ type: 'image_url', image_url: { url } }] }] });
}

function chunked(bytes: number): Buffer {
  const chunk = `${bytes.toString(16)}\r\n${' '.repeat(bytes)}\r\n0\r\n\r\n`;
  return post(CHAT, chunk, ['Transfer-Encoding: chunked']);
}

describe('requests that are refused are counted once', { timeout: 60_000 }, () => {
  let served: Awaited<ReturnType<typeof serve>>;
  let impatient: typeof served;
  before(async () => {
    served = await serve();
    impatient = await serve({}, echo, IMPATIENT);
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await impatient[Symbol.asyncDispose]();
  });

  for (const [name, request, status, series] of CASES) {
    it(`${name}: ${status}, ${series ?? 'not counted'}`, async () => {
      const { port, refused } = status === 408 ? impatient : served;
      const earlier = await refused();
      assert.equal((await sendRaw(port, request)).status, status);
      const expected = series === null ? earlier : { ...earlier, [series]: (earlier[series] ?? 0) + 1 };
      assert.deepEqual(await refused(), expected);
    });
  }

  it('not when their answer had begun', async () => {
    const earlier = await served.refused();
    using client = new RawClient(served.port);
    client.send(chat('', 'Content-Length: 9999999'));
    assert.equal((await client.answer()).status, 413);
    // The rest of its body, cut off: nobody is answered for that.
    client.send('{"mess');
    await client.rest();
    const series = 'request_too_large client chat.completions';
    assert.deepEqual(await served.refused(), { ...earlier, [series]: (earlier[series] ?? 0) + 1 });
  });
});

describe('refusals by keys, memory, end and engine', { timeout: 30_000 }, () => {
  it('without a key, with a wrong one, and without the right to administer', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'llamero-refusals-'));
    try {
      const file = path.join(folder, 'keys.json');
      const { key } = await addApiKey(file, 'plain');
      await using served = await serve({ gateway: { apiKeyFile: file } });
      assert.equal((await sendRaw(served.port, chat(OK))).status, 401);
      assert.equal((await sendRaw(served.port, chat(OK, 'Authorization: Bearer wrong'))).status, 401);
      assert.equal((await sendRaw(served.port, get('/somewhere'))).status, 401);
      const admin = post('/admin/debug/heap-snapshot', '', [`Authorization: Bearer ${key}`]);
      assert.equal((await sendRaw(served.port, admin)).status, 403);
      assert.equal((await sendRaw(served.port, chat(OK, `Authorization: Bearer ${key}`))).status, 200);
      assert.equal((await sendRaw(served.port, get('/livez'))).status, 200);
      assert.deepEqual(await served.refused(), {
        'invalid_api_key client chat.completions': 2,
        'invalid_api_key client none': 1,
        'permission_denied client admin.debug.heap-snapshot': 1,
      });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('bodies for which there is no memory; what is held, and how much may be, is shown', async () => {
    const bodyLimit = 4 * 1024 * 1024;
    await using served = await serve({ memoryLimit: 64, gateway: { bodyLimit } }, hold);
    const body = `{"a":"${'x'.repeat(4_000_000)}"}`;
    const clients = Array.from({ length: 4 }, () => new RawClient(served.port));
    for (const client of clients) {
      const arriving = served.backend.next();
      client.send(chat(body));
      await arriving;
    }
    const full = await served.values();
    assert.equal(full.get('llamero_request_body_bytes'), 4 * body.length);
    assert.equal(full.get('llamero_request_body_limit_bytes'), 16 * 1024 * 1024);
    assert.equal((await sendRaw(served.port, chat(body))).status, 503);
    assert.deepEqual(await served.refused(), { 'memory_pressure server chat.completions': 1 });
    for (const exchange of served.backend.seen) exchange.answer('{}');
    for (const client of clients) assert.equal((await client.answer()).status, 200);
    assert.equal((await served.values()).get('llamero_request_body_bytes'), 0);
    for (const client of clients) client[Symbol.dispose]();
  });

  it('while the gateway ends, also in the middle of a body', async () => {
    await using served = await serve({}, hold);
    using running = new RawClient(served.port);
    using halfway = new RawClient(served.port);
    using next = new RawClient(served.port);
    const arriving = served.backend.next();
    running.send(chat(OK));
    await arriving;
    for (const client of [halfway, next]) {
      // Half a request keeps its connection open, and `100 Continue` tells that the gateway is reading it.
      client.send(chat('', 'Content-Length: 15', 'Expect: 100-continue'));
      await client.until('100 Continue\r\n\r\n');
      client.take();
    }
    const drained = served.gateway.drain({ timeoutMs: 60_000 });
    next.send(OK);
    assert.equal((await next.answer()).status, 503);
    await served.gateway.stop();
    await drained;
    assert.equal((await halfway.answer()).status, 503);
    assert.equal((await running.answer()).status, 503);
    assert.equal(served.backend.seen.length, 1, 'the one that ran is told of by its pipeline');
    assert.deepEqual(await served.refused(), { 'engine_unavailable server chat.completions': 2 });
  });

  it('not those that the pipeline refuses, at once or later', async () => {
    const full = new LlameroError('queue_full', 'for a test');
    await using served = await serve({}, (exchange) => {
      if (exchange.request.stream) setImmediate(() => exchange.fail(full));
      else exchange.fail(full);
    });
    assert.equal((await sendRaw(served.port, chat(OK))).status, 503);
    assert.equal((await sendRaw(served.port, chat('{"messages":[],"stream":true}'))).status, 503);
    assert.deepEqual(await served.refused(), {});
  });
});
