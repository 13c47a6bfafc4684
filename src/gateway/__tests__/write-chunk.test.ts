import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { request } from 'node:http';
import { connect } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { GatewayRequest, GatewayResponse } from '../gateway-message.ts';
import { createServer } from '../node-http.ts';
import { writeChunk } from '../write-chunk.ts';

/** Serves one answer, written by `write`. */
async function serveOne(write: (response: GatewayResponse) => Promise<void>) {
  const server = createServer<typeof GatewayRequest, typeof GatewayResponse>({
    IncomingMessage: GatewayRequest,
    ServerResponse: GatewayResponse,
  });
  server.on('request', (_request, response) => void write(response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

describe('writing a chunk', { timeout: 20_000 }, () => {
  const parts = [1, 15, 16, 255, 4095, 4096, 8192, 8193, 70_000].map((length) => Buffer.alloc(length, `${length} ü`));

  it('keeps bytes and order, beside what the response writes itself', async () => {
    await using served = await serveOne(async (response) => {
      response.writeHead(200);
      response.write('head ');
      for (const part of parts) {
        writeChunk(response, part);
        response.write(' and ');
        // Once beside what waits to be written, once alone.
        if (part.length % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      writeChunk(response, Buffer.alloc(0));
      response.end('end');
    });
    const asked = request({ port: served.port, host: '127.0.0.1' });
    asked.end();
    const [answer] = (await once(asked, 'response')) as [import('node:http').IncomingMessage];
    const expected = Buffer.concat([
      Buffer.from('head '),
      ...parts.flatMap((part) => [part, Buffer.from(' and ')]),
      Buffer.from('end'),
    ]);
    assert.ok((await buffer(answer)).equals(expected));
  });

  it('never overtakes the head and what the response has not handed to its socket yet', async () => {
    await using served = await serveOne(async (response) => {
      response.writeTrustedHead(['content-type', 'text/event-stream'], null);
      response.write(Buffer.from('one '));
      writeChunk(response, Buffer.from('two '));
      response.write(Buffer.from('three '));
      await new Promise((resolve) => setImmediate(resolve));
      writeChunk(response, Buffer.from('four '));
      response.end('five');
    });
    const answer = await fetch(`http://127.0.0.1:${served.port}/`);
    assert.equal(await answer.text(), 'one two three four five');
  });

  it('frames nothing for a client of HTTP/1.0, which knows no chunks', async () => {
    await using served = await serveOne(async (response) => {
      response.writeHead(200);
      response.write('one ');
      await new Promise((resolve) => setImmediate(resolve));
      writeChunk(response, Buffer.from('two'));
      response.end();
    });
    const socket = connect(served.port, '127.0.0.1');
    socket.write('GET / HTTP/1.0\r\n\r\n');
    assert.match((await buffer(socket)).toString(), /\r\n\r\none two$/);
  });

  it('tells when the client does not read, and when it reads again', async () => {
    const drained = Promise.withResolvers<number>();
    await using served = await serveOne(async (response) => {
      response.writeHead(200);
      response.write('.');
      await new Promise((resolve) => setImmediate(resolve));
      let written = 1;
      const part = Buffer.alloc(8192);
      while (writeChunk(response, part)) written += part.length;
      response.once('drain', () => {
        drained.resolve(written + part.length);
        response.end();
      });
    });
    const asked = request({ port: served.port, host: '127.0.0.1' });
    asked.end();
    const [answer] = (await once(asked, 'response')) as [import('node:http').IncomingMessage];
    const body = await buffer(answer);
    assert.equal(body.length, await drained.promise);
  });
});
