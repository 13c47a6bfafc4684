import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { parseConfig } from '../../core/config.ts';
import { createGateway, type Gateway } from '../gateway.ts';
import { post, RawClient, sendRaw } from './raw-client.ts';
import { ScriptedBackend } from './scripted-backend.ts';

const CHAT = '/v1/chat/completions';
const GET_MODELS = 'GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n';
const OK = '{"messages":[]}';
const head = (...lines: string[]) => `${lines.join('\r\n')}\r\n\r\n`;
const chat = (body: string | Buffer, ...more: string[]) => post(CHAT, body, more);
const nested = (levels: number) => `{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`;

/** What is sent, the status that must come back, and the code of the error. */
type Case = [name: string, request: string | Buffer, status: number, code: string];

const CASES: Case[] = [
  // Bodies that are no JSON object.
  ['broken JSON', chat('{"messages": [}'), 400, 'invalid_request'],
  ['truncated JSON', chat('{"messages": [{"role":"us'), 400, 'invalid_request'],
  ['text after the object', chat('{} {}'), 400, 'invalid_request'],
  ['a comment', chat('{/* hello */}'), 400, 'invalid_request'],
  ['single quotes', chat("{'messages':[]}"), 400, 'invalid_request'],
  ['NaN', chat('{"temperature":NaN}'), 400, 'invalid_request'],
  ['an empty body', chat(''), 400, 'invalid_request'],
  ['no body and no length', head(`POST ${CHAT} HTTP/1.1`, 'Host: localhost'), 400, 'invalid_request'],
  ['an array', chat('[]'), 400, 'invalid_request'],
  ['null', chat('null'), 400, 'invalid_request'],
  ['a number', chat('17'), 400, 'invalid_request'],
  ['a string', chat('"stream"'), 400, 'invalid_request'],
  ['a raw NUL byte', chat(Buffer.from('{"a":"\0"}')), 400, 'invalid_request'],
  ['a NUL byte after the object', chat(Buffer.from('{}\0')), 400, 'invalid_request'],
  ['invalid UTF-8', chat(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), 400, 'invalid_request'],
  ['overlong UTF-8', chat(Buffer.from([0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x3a, 0x31, 0x7d])), 400, 'invalid_request'],
  [
    'a UTF-8 surrogate',
    chat(Buffer.from([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d])),
    400,
    'invalid_request',
  ],
  ['UTF-16', chat(Buffer.from('{"messages":[]}', 'utf16le')), 400, 'invalid_request'],
  ['a byte order mark', chat(Buffer.from(`\ufeff${OK}`)), 400, 'invalid_request'],
  ['nesting of 101 levels', chat(nested(100)), 400, 'invalid_request'],
  ['nesting of 5 million levels', chat(nested(5_000_000)), 400, 'invalid_request'],
  ['unclosed nesting', chat('['.repeat(100_000)), 400, 'invalid_request'],
  ['stream as text', chat('{"stream":"true"}'), 400, 'invalid_request'],
  ['stream as number', chat('{"stream":1}'), 400, 'invalid_request'],
  ['stream as object', chat('{"stream":{}}'), 400, 'invalid_request'],
  ['stream, wrong the second time', chat('{"stream":true,"stream":[]}'), 400, 'invalid_request'],
  ['17 MB', chat(`{"a":"${'x'.repeat(17 * 1024 * 1024)}"}`), 413, 'request_too_large'],
  ['a declared terabyte', chat('', 'Content-Length: 1099511627776'), 413, 'request_too_large'],
  ['17 MB in chunks', chunked(17), 413, 'request_too_large'],
  // Bodies that are declared as something else.
  ['a form', chat('a=1', 'Content-Type: application/x-www-form-urlencoded'), 415, 'invalid_request'],
  ['multipart', chat('--x--', 'Content-Type: multipart/form-data; boundary=x'), 415, 'invalid_request'],
  ['plain text', chat(OK, 'Content-Type: text/plain'), 415, 'invalid_request'],
  ['another charset', chat(OK, 'Content-Type: application/json; charset=utf-16'), 415, 'invalid_request'],
  ['gzip', chat(Buffer.from([0x1f, 0x8b, 8, 0]), 'Content-Encoding: gzip'), 415, 'invalid_request'],
  // Framing.
  ['two equal lengths', chat(OK, 'Content-Length: 15', 'Content-Length: 15'), 400, 'invalid_request'],
  ['two different lengths', chat(OK, 'Content-Length: 15', 'Content-Length: 3'), 400, 'invalid_request'],
  ['a list of lengths', chat(OK, 'Content-Length: 15, 15'), 400, 'invalid_request'],
  ['a negative length', chat(OK, 'Content-Length: -1'), 400, 'invalid_request'],
  ['a signed length', chat(OK, 'Content-Length: +15'), 400, 'invalid_request'],
  ['a length that is no number', chat(OK, 'Content-Length: 0xf'), 400, 'invalid_request'],
  ['length and chunks', chat('0\r\n\r\n', 'Content-Length: 5', 'Transfer-Encoding: chunked'), 400, 'invalid_request'],
  ['chunks and length', chat('0\r\n\r\n', 'Transfer-Encoding: chunked', 'Content-Length: 5'), 400, 'invalid_request'],
  ['an unknown transfer encoding', chat(OK, 'Transfer-Encoding: cow'), 400, 'invalid_request'],
  ['chunks that are not last', chat(OK, 'Transfer-Encoding: chunked, gzip'), 400, 'invalid_request'],
  ['a chunk size that is no number', chat('zz\r\n', 'Transfer-Encoding: chunked'), 400, 'invalid_request'],
  ['a chunk longer than its size', chat('2\r\n{}}\r\n0\r\n\r\n', 'Transfer-Encoding: chunked'), 400, 'invalid_request'],
  ['a space before the colon', chat(OK, 'Transfer-Encoding : chunked', 'Content-Length: 15'), 400, 'invalid_request'],
  ['a folded header', chat(OK, 'X-Folded: a', '  b', 'Content-Length: 15'), 400, 'invalid_request'],
  ['a header name with a space', chat(OK, 'X Y: 1', 'Content-Length: 15'), 400, 'invalid_request'],
  ['a NUL byte in a header', chat(OK, 'X-Nul: a\0b', 'Content-Length: 15'), 400, 'invalid_request'],
  ['a bare line feed', `GET /v1/models HTTP/1.1\nHost: localhost\n\n`, 400, 'invalid_request'],
  // The request line and headers.
  ['no HTTP at all', 'hello\r\n\r\n', 400, 'invalid_request'],
  ['TLS', Buffer.from('160301020001000001fc0303', 'hex'), 400, 'invalid_request'],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400, 'invalid_request'],
  ['an unknown version', head('GET /v1/models HTTP/9.9', 'Host: localhost'), 400, 'invalid_request'],
  ['an unknown method', head('BREW /v1/models HTTP/1.1', 'Host: localhost'), 400, 'invalid_request'],
  ['TRACE', head('TRACE /v1/models HTTP/1.1', 'Host: localhost'), 405, 'method_not_allowed'],
  ['DELETE', head(`DELETE ${CHAT} HTTP/1.1`, 'Host: localhost'), 405, 'method_not_allowed'],
  ['CONNECT', head('CONNECT example.org:443 HTTP/1.1', 'Host: example.org:443'), 405, 'method_not_allowed'],
  ['no host', head('GET /v1/models HTTP/1.1'), 400, 'invalid_request'],
  ['two hosts', head('GET /v1/models HTTP/1.1', 'Host: localhost', 'Host: localhost'), 400, 'invalid_request'],
  ['an unknown expectation', chat(OK, 'Expect: the-unexpected'), 417, 'invalid_request'],
  [
    '20 KB of one header',
    head('GET /v1/models HTTP/1.1', 'Host: localhost', `X-Big: ${'x'.repeat(20_000)}`),
    431,
    'request_too_large',
  ],
  [
    '5000 headers',
    head('GET /v1/models HTTP/1.1', 'Host: localhost', ...Array.from({ length: 5000 }, (_, n) => `X-${n}: 1`)),
    431,
    'request_too_large',
  ],
  ['an address of 20 KB', head(`GET /${'x'.repeat(20_000)} HTTP/1.1`, 'Host: localhost'), 431, 'request_too_large'],
  ['a wrong timeout', chat(OK, 'X-Request-Timeout: soon'), 400, 'invalid_request'],
  ['a timeout of 0', chat(OK, 'X-Request-Timeout: 0'), 400, 'invalid_request'],
  // Paths.
  ['a path that climbs', head('GET /v1/../v1/models HTTP/1.1', 'Host: localhost'), 404, 'not_found'],
  ['a double slash', head('GET //v1/models HTTP/1.1', 'Host: localhost'), 404, 'not_found'],
  ['an encoded slash', head('GET /v1%2fmodels HTTP/1.1', 'Host: localhost'), 404, 'not_found'],
  ['an encoded letter', head('POST /%70rops HTTP/1.1', 'Host: localhost', 'Content-Length: 0'), 404, 'not_found'],
  ['a trailing slash', post(`${CHAT}/`, OK), 404, 'not_found'],
  ['another case', post('/V1/chat/completions', OK), 404, 'not_found'],
  ['a broken escape', head('GET /v1/models/%zz HTTP/1.1', 'Host: localhost'), 400, 'invalid_request'],
  ['POST /props', post('/props', '{}'), 405, 'method_not_allowed'],
  ['a slot action', post('/slots/0?action=save', '{}'), 404, 'not_found'],
  ['an engine route that is not relayed', post('/lora-adapters', '[]'), 404, 'not_found'],
  ['the asterisk', head('GET * HTTP/1.1', 'Host: localhost'), 404, 'not_found'],
  // Media.
  [
    'a file as image',
    chat('{"messages":[{"content":[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]}]}'),
    403,
    'permission_denied',
  ],
  [
    'an address as image',
    chat('{"messages":[{"content":[{"type":"image_url","image_url":{"url":"http://169.254.169.254/"}}]}]}'),
    403,
    'permission_denied',
  ],
];

describe('hostile requests', { timeout: 60_000 }, () => {
  const backend = new ScriptedBackend();
  let gateway: Gateway;
  let port = 0;

  before(async () => {
    gateway = createGateway({
      provider: backend,
      config: parseConfig({ gateway: { port: 'auto' } }),
      limits: { headersTimeoutMs: 400, requestTimeoutMs: 600, connectionsCheckingIntervalMs: 50, lingerMs: 500 },
    });
    ({ port } = await gateway.listen());
  });
  after(() => gateway.stop());

  for (const [name, request, status, code] of CASES) {
    it(`${name}: ${status}`, async () => {
      const reached = backend.seen.length;
      const answer = await sendRaw(port, request);
      assert.equal(answer.status, status, answer.body);
      const { error } = JSON.parse(answer.body) as { error: Record<string, unknown> };
      assert.deepEqual(Object.keys(error), ['message', 'type', 'param', 'code']);
      assert.equal(error['code'], code);
      assert.match(answer.headers['x-request-id'] ?? '', /^\S+$/);
      assert.equal(backend.seen.length, reached, 'it must not reach the engine');
      assert.equal((await sendRaw(port, GET_MODELS)).status, 200, 'the next request is served');
    });
  }

  it('passes on what is strange but allowed', async () => {
    const bodies = [
      '{"max_tokens":1e999}',
      `{"seed":${'9'.repeat(400)}}`,
      String.raw`{"messages":[{"role":"user","content":"\ud800"}]}`,
      String.raw`{"a":"\u0000"}`,
      '{"__proto__":{"stream":true},"constructor":1}',
      nested(99),
      `{"a":"${'['.repeat(1000)}"}`,
      ' \n{}\t ',
      '{"stream":null}',
    ];
    for (const body of bodies) {
      const answer = await sendRaw(port, chat(body));
      assert.equal(answer.status, 200, body.slice(0, 80));
      assert.equal(answer.body, body, 'byte for byte');
    }
  });

  it('takes the target in absolute form', async () => {
    const answer = await sendRaw(port, head('GET http://localhost/v1/models HTTP/1.1', 'Host: localhost'));
    assert.equal(answer.status, 200);
    const foreign = await sendRaw(port, head('GET http://evil.example/v1/models HTTP/1.1', 'Host: localhost'));
    assert.equal(foreign.status, 403, 'the host of the target counts');
  });

  it('answers pipelined requests in order, also after a refused one', async () => {
    using client = new RawClient(port);
    client.send(Buffer.concat([chat('{"n":1}'), chat('{"n":'), Buffer.from(GET_MODELS), chat('{"n":4}')]));
    assert.equal((await client.answer()).body, '{"n":1}');
    assert.equal((await client.answer()).status, 400);
    assert.equal((await client.answer()).status, 200);
    assert.equal((await client.answer()).body, '{"n":4}');
  });

  it('does not take a smuggled request for a second one', async () => {
    const reached = backend.seen.length;
    const smuggled = `0\r\n\r\nPOST ${CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}`;
    using client = new RawClient(port);
    client.send(chat(smuggled, `Content-Length: ${smuggled.length}`, 'Transfer-Encoding: chunked'));
    assert.equal((await client.answer()).status, 400);
    assert.equal(await client.rest(), '', 'nothing follows, and the connection is closed');
    assert.equal(backend.seen.length, reached);
  });

  it('closes the connection after bad framing, and after a body that is too large', async () => {
    for (const request of [chat(OK, 'Content-Length: x'), chat('', 'Content-Length: 99999999'), chunked(17)]) {
      using client = new RawClient(port);
      client.send(request);
      const answer = await client.answer();
      assert.equal(answer.headers['connection'], 'close');
      await client.rest();
    }
  });

  it('refuses a body that is too large before it is sent', async () => {
    using client = new RawClient(port);
    client.send(head(`POST ${CHAT} HTTP/1.1`, 'Host: localhost', 'Content-Length: 17000000', 'Expect: 100-continue'));
    assert.equal((await client.answer()).status, 413);
  });

  it('asks for the body of a client that waits for permission', async () => {
    using client = new RawClient(port);
    client.send(head(`POST ${CHAT} HTTP/1.1`, 'Host: localhost', 'Content-Length: 2', 'Expect: 100-continue'));
    assert.match(await client.until('100 Continue\r\n\r\n'), /^HTTP\/1\.1 100 Continue\r\n\r\n$/);
    client.send('{}');
    assert.match(await client.until('{}'), /HTTP\/1\.1 200 OK/);
  });

  for (const [name, beginning] of [
    ['the request line', 'GET /v1/mo'],
    ['the headers', 'GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Slow: '],
    ['the body', head(`POST ${CHAT} HTTP/1.1`, 'Host: localhost', 'Content-Length: 100') + '{"mess'],
    ['a chunk', head(`POST ${CHAT} HTTP/1.1`, 'Host: localhost', 'Transfer-Encoding: chunked') + '5\r\n{"a'],
  ] as const) {
    it(`does not wait forever for the rest of ${name}`, async () => {
      using client = new RawClient(port);
      client.send(beginning);
      const answer = await client.answer();
      assert.equal(answer.status, 408);
      assert.match(answer.body, /"code":"request_timeout"/);
      await client.rest();
    });
  }

  it('drops a client that goes away in the middle of its body', async () => {
    const client = new RawClient(port);
    client.send(head(`POST ${CHAT} HTTP/1.1`, 'Host: localhost', 'Content-Length: 100') + '{"mess');
    client[Symbol.dispose]();
    assert.equal((await sendRaw(port, GET_MODELS)).status, 200);
  });
});

function chunked(megabytes: number): Buffer {
  const size = 1024 * 1024;
  const chunk = Buffer.concat([Buffer.from(`${size.toString(16)}\r\n`), Buffer.alloc(size, ' '), Buffer.from('\r\n')]);
  const chunks = Array.from({ length: megabytes }, () => chunk);
  return post(CHAT, Buffer.concat([...chunks, Buffer.from('0\r\n\r\n')]), ['Transfer-Encoding: chunked']);
}
