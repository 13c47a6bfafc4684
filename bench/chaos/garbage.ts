/** Requests that nobody should send. Each is answered with an error of its own, and changes nothing for anybody else. */

/** Over HTTP, but wrong. */
export interface WrongRequest {
  readonly path: string;
  readonly method?: 'GET';
  readonly body: Buffer | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** Instead of the key of the caller; empty: none. */
  readonly authorization?: string;
}

/** What `gateway.bodyLimit` is in a run, in bytes. */
export const BODY_LIMIT_BYTES = 200_000;

const CHAT = '/v1/chat/completions';

const WRONG: readonly WrongRequest[] = [
  { path: CHAT, body: Buffer.from('{"messages": [') },
  { path: CHAT, body: Buffer.from('[]') },
  { path: CHAT, body: Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]) },
  { path: CHAT, body: Buffer.from('{"stream":"please"}') },
  { path: CHAT, body: Buffer.from('{}'), headers: { 'content-type': 'text/html' } },
  { path: CHAT, body: Buffer.from('{}'), headers: { 'content-encoding': 'gzip' } },
  { path: '/completion', body: Buffer.from(`{"prompt":${'['.repeat(300)}${']'.repeat(300)}}`) },
  { path: '/completion', body: Buffer.from('{"prompt":"x"}'), headers: { 'x-request-timeout': 'soon' } },
  { path: '/completion', body: Buffer.from('{"prompt":"x"}'), authorization: '' },
  { path: '/completion', body: Buffer.from('{"prompt":"x"}'), authorization: 'Bearer llamero_made-up' },
  { path: '/v1/nothing', method: 'GET', body: null },
  { path: CHAT, method: 'GET', body: null },
  { path: '/completion', body: Buffer.alloc(BODY_LIMIT_BYTES + 1, ' ') },
  { path: '/completion', body: Buffer.from(JSON.stringify({ prompt: 'a long story '.repeat(4000), n_predict: 4 })) },
];

/** Not even HTTP. */
const RAW: readonly Buffer[] = [
  Buffer.from('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'latin1'),
  Buffer.from('POST /completion HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{"a":1}'),
  Buffer.from('POST /completion HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n'),
  Buffer.from('POST /completion HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}'),
];

/** That piece of garbage: a wrong request, or bytes for a bare socket. */
export function garbage(number: number): WrongRequest | Buffer {
  const wrong = WRONG[number];
  return wrong ?? (RAW[(number - WRONG.length) % RAW.length] as Buffer);
}

/** A request that breaks off, in its head or in its body. */
export function halfRequest(number: number, authorization: string): Buffer {
  const head = `POST /completion HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${authorization}\r\n`;
  if (number % 2 === 0) return Buffer.from(head.slice(0, 30 + number * 11));
  return Buffer.from(`${head}Content-Type: application/json\r\nContent-Length: 4000\r\n\r\n{"prompt":"so`);
}
