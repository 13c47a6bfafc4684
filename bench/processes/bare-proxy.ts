import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Dispatcher, Pool } from 'undici';
import { announcePort } from './agent.ts';

/** The floor of the platform: node:http in front, undici's dispatch behind, and nothing between them. */
const { upstream } = JSON.parse(process.argv[2] ?? '{}') as { upstream: number };
const pool = new Pool(`http://127.0.0.1:${upstream}`, { connections: null, pipelining: 1 });

const server = createServer({ noDelay: true }, (request, response) => {
  const body: Buffer[] = [];
  let upstreamController: Dispatcher.DispatchController | null = null;
  request.on('data', (chunk: Buffer) => body.push(chunk));
  request.on('end', () => {
    const { url = '/', method = 'GET' } = request;
    const headers = { 'content-type': request.headers['content-type'] ?? 'application/json' };
    pool.dispatch(
      { path: url, method, headers, body: body.length > 0 ? Buffer.concat(body) : null, bodyTimeout: 0 },
      {
        onRequestStart: (controller) => (upstreamController = controller),
        onResponseStart: (_controller, status, { 'content-type': type, 'content-length': length }) => {
          const framing = length === undefined ? [] : ['content-length', String(length)];
          response.writeHead(status, ['content-type', String(type), ...framing]);
        },
        onResponseData: (controller, chunk) => {
          if (!response.write(chunk)) controller.pause();
        },
        onResponseEnd: () => response.end(),
        onResponseError: () => response.destroy(),
      },
    );
  });
  response.on('drain', () => upstreamController?.resume());
  response.on('close', () => {
    if (!response.writableFinished) upstreamController?.abort(new Error('the client is gone'));
  });
});
server.listen(0, '127.0.0.1', () => announcePort((server.address() as AddressInfo).port));
