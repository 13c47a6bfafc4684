import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import type { AddressInfo } from 'node:net';
import { GatewayRequest, GatewayResponse } from '../gateway-message.ts';
import { createServer } from '../node-http.ts';

const HEADERS = ['x-request-id', 'req_1', 'server-timing', 'queue;dur=0.1, engine;dur=2', 'content-type', 'text/plain'];
const KEPT = 'GET / HTTP/1.1\r\nhost: x\r\n';

/** Bytes of the answers to these requests, sent at once on one connection, without what differs with the time. */
async function answers(requests: string, isTrusted: boolean, isChunked: boolean): Promise<string> {
  const server = createServer<typeof GatewayRequest, typeof GatewayResponse>({
    IncomingMessage: GatewayRequest,
    ServerResponse: GatewayResponse,
    keepAliveTimeout: 65_000,
  });
  const answer = (_request: GatewayRequest, response: GatewayResponse): void => {
    if (isTrusted) response.writeTrustedHead(HEADERS, isChunked ? null : 3);
    else response.writeHead(200, isChunked ? HEADERS : [...HEADERS, 'content-length', '3']);
    if (isChunked) {
      response.write(Buffer.from('a\n'));
      response.forgetHead();
      response.end('b');
    } else response.end('abc', 'latin1');
  };
  server.on('request', answer);
  server.on('checkContinue', answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    let text = '';
    socket.on('data', (data) => (text += data.toString('latin1')));
    // The server ends the connection behind the last answer, which says so.
    socket.write(`${requests}${KEPT}connection: close\r\n\r\n`);
    await once(socket, 'close');
    return text.replaceAll(/Date: .{29}\r\n/g, 'Date: then\r\n');
  } finally {
    server.close();
  }
}

describe('a trusted head', { timeout: 20_000 }, () => {
  const rows: readonly [name: string, requests: string][] = [
    ['a connection that is kept', `${KEPT}\r\n`],
    ['two requests at once', `${KEPT}\r\n${KEPT}\r\n`],
    ['HEAD', `${KEPT.replace('GET', 'HEAD')}\r\n`],
    ['a client that waits to be asked for its body', `${KEPT}expect: 100-continue\r\n\r\n`],
    ['HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n'],
    ['HTTP/1.0 that is kept', 'GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n'],
  ];
  for (const [name, requests] of rows) {
    for (const isChunked of [false, true]) {
      it(`is what node:http writes: ${name}, ${isChunked ? 'chunked' : 'whole'}`, async () => {
        const expected = await answers(requests, false, isChunked);
        assert.match(expected, /^HTTP\/1\.1 200 OK\r\nx-request-id: req_1\r\n/);
        assert.equal(await answers(requests, true, isChunked), expected);
      });
    }
  }

  it('has the date of now', async () => {
    const before = Math.floor(Date.now() / 1000) * 1000;
    const server = createServer<typeof GatewayRequest, typeof GatewayResponse>({ ServerResponse: GatewayResponse });
    server.on('request', (_request, response) => {
      response.writeTrustedHead([], 0);
      response.end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const answer = await fetch(`http://127.0.0.1:${port}/`);
    server.closeAllConnections();
    server.close();
    const date = Date.parse(answer.headers.get('date') ?? '');
    assert.ok(date >= before && date <= Date.now(), `${date}`);
  });
});
