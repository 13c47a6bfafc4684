import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import type { SettledRequest } from '../../core/events.ts';
import { LlamaCppProvider } from '../../core/llm/llama-cpp-provider.ts';
import { startFakeLlamaServer } from '../../testing/index.ts';
import { createGateway } from '../gateway.ts';
import { StreamReader } from './served-engine.ts';

const LAST: readonly [route: string, fields: object, last: string][] = [
  ['/v1/chat/completions', { messages: [{ role: 'user', content: 'Hello' }] }, 'data: [DONE]\n\n'],
  ['/completion', { prompt: 'Hello' }, '"stop":true'],
  ['/v1/responses', { input: 'Hello' }, '"type":"response.completed"'],
  ['/v1/messages', { messages: [{ role: 'user', content: 'Hello' }], max_tokens: 8 }, '"type":"message_stop"'],
];

/** A way to a server that holds back the end of each answer's body, all of its events aside. */
async function startWithoutEnds(target: string) {
  const server = createServer((request, response) => {
    const forwarded = send(
      target + String(request.url),
      { method: request.method, headers: request.headers },
      (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(response, { end: request.method === 'GET' });
      },
    );
    forwarded.on('error', () => response.destroy());
    request.pipe(forwarded);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

describe('a stream whose last event has come, but not the end of its body', { timeout: 30_000 }, () => {
  for (const [route, fields, last] of LAST) {
    it(`is complete when llamero shuts down: ${route}`, async () => {
      await using double = await startFakeLlamaServer();
      await using proxy = await startWithoutEnds(double.url);
      await using provider = LlamaCppProvider.connect(proxy.url, { gateway: { port: 'auto' } });
      await provider.start();
      const gateway = createGateway({ provider });
      try {
        const { url } = await gateway.listen();
        const settled: SettledRequest[] = [];
        provider.on('settled', (request) => settled.push(request));
        const answer = await fetch(url + route, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ ...fields, stream: true }),
        });
        const reader = new StreamReader(answer);
        await reader.until(last);
        await gateway.stop();
        const rest = (await reader.rest()).split(last)[1];
        assert.doesNotMatch(rest ?? '', /event: error|data: /);
        assert.deepEqual(
          settled.map(({ outcome }) => outcome),
          ['completed'],
        );
      } finally {
        await gateway.stop();
      }
    });
  }
});
