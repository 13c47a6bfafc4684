import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Stands before a server and remembers the headers that it is sent. */
export async function recordingProxy(target: string) {
  const requests: { path: string; headers: IncomingHttpHeaders }[] = [];
  const server = createServer((incoming, answer) => {
    requests.push({ path: incoming.url ?? '', headers: incoming.headers });
    const { method, headers } = incoming;
    const outgoing = httpRequest(target + incoming.url, { method, headers }, (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers);
      response.pipe(answer);
    });
    outgoing.on('error', () => answer.destroy());
    incoming.pipe(outgoing);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Headers of the requests to that path, in order. */
    seen: (path: string) => requests.filter((request) => request.path === path).map(({ headers }) => headers),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
