import { type AddressInfo, createServer, type Socket } from 'node:net';
import { announcePort, answer } from './agent.ts';
import { EventSource } from './upstream-stream.ts';
import { MODELS, properties, WHOLE_ANSWER } from './upstream-answers.ts';

/**
 * As much of llama-server as the bench needs, and as fast as it goes: a bare socket that looks for the end of a request
 * and answers. It must cost little, since it shares a core with the load. How it answers a chat is asked for in the
 * body, in a field of its own that the gateway passes on as it passes everything.
 */

/** How the upstream should answer: the `bench` field of a chat request. */
export type Behaviour =
  | { readonly kind: 'whole' }
  /** Never answers: a request in flight. */
  | { readonly kind: 'hold' }
  /** `count` token events, `intervalMs` apart; 0: as fast as they are taken. `count` 0: one event, then silence. */
  | { readonly kind: 'stream'; readonly count: number; readonly intervalMs: number };

const { slots } = JSON.parse(process.argv[2] ?? '{}') as { slots: number };
const WHOLE = jsonAnswer(WHOLE_ANSWER);

/** Requests that are held, and who waits for there to be so many. */
let inHand = 0;
let awaited: { count: number; resolve: () => void } | null = null;
answer('until-in-hand', (count: number) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  awaited = { count, resolve };
  checkInHand();
  return promise;
});

const server = createServer({ noDelay: true }, (socket) => {
  let held = '';
  socket.setEncoding('latin1');
  socket.on('error', () => socket.destroy());
  socket.on('data', (text: string) => {
    held += text;
    const headEnd = held.indexOf('\r\n\r\n');
    if (headEnd === -1) return;
    const length = Number(/content-length: (\d+)/i.exec(held.slice(0, headEnd))?.[1] ?? 0);
    if (held.length < headEnd + 4 + length) return;
    const path = held.slice(held.indexOf(' ') + 1, held.indexOf(' HTTP/'));
    const body = held.slice(headEnd + 4);
    held = '';
    answerRequest(socket, path, body);
  });
});
server.listen(0, '127.0.0.1', () => announcePort((server.address() as AddressInfo).port));

function answerRequest(socket: Socket, path: string, body: string): void {
  if (path === '/health') socket.write(jsonAnswer('{"status":"ok"}'));
  else if (path === '/props') socket.write(jsonAnswer(properties(slots)));
  else if (path === '/v1/models') socket.write(jsonAnswer(MODELS));
  else if (path === '/v1/chat/completions') answerChat(socket, JSON.parse(body) as { bench: Behaviour });
  else socket.end('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n');
}

function answerChat(socket: Socket, { bench }: { bench: Behaviour }): void {
  if (bench.kind === 'whole') socket.write(WHOLE);
  else if (bench.kind === 'stream') new EventSource(socket, bench).start();
  else keepInHand(socket);
}

function keepInHand(socket: Socket): void {
  inHand += 1;
  socket.once('close', () => (inHand -= 1));
  checkInHand();
}

function checkInHand(): void {
  if (awaited === null || inHand < awaited.count) return;
  awaited.resolve();
  awaited = null;
}

function jsonAnswer(body: string): string {
  return `HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}
