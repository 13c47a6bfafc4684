import type { ServerResponse } from 'node:http';
import { randomBytes } from 'node:crypto';
import type { FakeServerEnd, StreamFault } from './settings.ts';

/** Sends the headers of a stream, as llama-server does. */
export function openStream(response: ServerResponse): void {
  response.writeHead(200, {
    'Access-Control-Allow-Origin': '',
    'X-Accel-Buffering': 'no',
    'Content-Type': 'text/event-stream',
  });
  response.flushHeaders();
}

/** Sends a JSON answer; errors close the connection, as llama-server does. */
export function sendJson(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
): void {
  sendBytes(response, status, Buffer.from(JSON.stringify(value)), headers);
}

/** Sends an error in llama-server's shape. */
export function sendError(
  response: ServerResponse,
  code: number,
  type: string,
  message: string,
  more: { headers?: Record<string, string>; fields?: Record<string, unknown> } = {},
): void {
  sendJson(response, code, { error: { code, message, type, ...more.fields } }, more.headers);
}

/** Sends bytes as a JSON answer, whatever they are. */
export function sendBytes(
  response: ServerResponse,
  status: number,
  bytes: Buffer,
  headers: Record<string, string> = {},
): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, {
    'Access-Control-Allow-Origin': '',
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': bytes.length,
    ...(status >= 400 ? { Connection: 'close' } : {}),
    ...headers,
  });
  response.end(bytes);
}

/** Writes and waits until the bytes left the process, or the connection is gone. */
export async function write(response: ServerResponse, bytes: string | Buffer): Promise<void> {
  if (response.destroyed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  // An error here means that the client is gone, which the connection's close event tells everyone.
  response.write(bytes, () => resolve());
  response.once('close', resolve);
  await promise;
  response.off('close', resolve);
}

/** Breaks a streaming answer. Returns whether the answer goes on. `frame` is one that would come next. */
export async function breakStream(response: ServerResponse, fault: StreamFault, frame: string): Promise<boolean> {
  switch (fault.fault) {
    case 'malformed-frame':
      await write(response, `data: {"choices":[{"delta":{"content":"\n\n`);
      return true;
    case 'cut-frame':
      await write(response, frame.slice(0, Math.floor(frame.length / 2)));
      break;
    case 'cut-character':
      await write(response, cutCharacter(frame));
      break;
    case 'garbage':
      await write(response, randomBytes(512));
      break;
    default:
      break;
  }
  if (destroys(fault)) response.destroy();
  else response.end();
  return false;
}

/** Breaks a non-streaming answer whose proper body is `body`. */
export async function breakWhole(response: ServerResponse, fault: StreamFault, body: string): Promise<void> {
  const bytes = Buffer.from(body);
  const half = fault.fault === 'cut-character' ? cutCharacter(body) : bytes.subarray(0, Math.floor(bytes.length / 2));
  if (fault.fault === 'garbage') return sendBytes(response, 200, randomBytes(512));
  if (!destroys(fault)) return sendBytes(response, 200, half);
  response.writeHead(200, { 'Content-Type': 'application/json; charset=utf-8', 'Content-Length': bytes.length });
  await write(response, half);
  response.destroy();
}

function destroys(fault: StreamFault): boolean {
  return (
    fault.fault === 'destroy' ||
    ((fault.fault === 'cut-frame' || fault.fault === 'cut-character') && fault.destroy === true)
  );
}

/** The text up to the middle of its last character of several bytes; of an emoji put behind it if it has none. */
function cutCharacter(text: string): Buffer {
  const found = [...text.matchAll(/[^\p{ASCII}]/gu)].at(-1);
  const start = found?.index ?? Math.floor(text.length / 2);
  const character = Buffer.from(found?.[0] ?? '🦙');
  return Buffer.concat([Buffer.from(text.slice(0, start)), character.subarray(0, character.length - 1)]);
}

/** Ends the process with the exit code (default 1), or by the signal. */
export function endProcess({ exitCode = 1, signal }: FakeServerEnd): void {
  if (signal === undefined) process.exit(exitCode);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}
