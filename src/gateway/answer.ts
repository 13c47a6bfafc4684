import type { Socket } from 'node:net';
import { LlameroError } from '../core/errors.ts';
import { errorBody } from '../core/openai/error-body.ts';
import type { Dialect } from '../core/openai/routes.ts';
import type { GatewayRequest, GatewayResponse } from './gateway-message.ts';

/** Answers that the gateway gives itself, without fastify: refusals and errors in the shape of the contract. */

/** `Retry-After` in whole seconds, at least 1, for the statuses that ask for patience; else null. */
export function retryAfterOf(error: LlameroError): string | null {
  if (error.retryAfterMs === undefined && error.status !== 429 && error.status !== 503) return null;
  return String(Math.max(1, Math.ceil((error.retryAfterMs ?? 0) / 1000)));
}

/** Sends an error as the whole answer. `more` are further headers, names and values in turn. */
export function answerError(
  response: GatewayResponse,
  error: LlameroError,
  dialect: Dialect = 'json',
  more: readonly string[] = [],
): void {
  const body = errorBody(error, dialect);
  response.writeHead(error.status, [
    ...errorHeaders(error, body, response.requestId),
    ...(dialect === 'messages' ? ['request-id', response.requestId] : []),
    ...response.corsHeaders,
    ...more,
  ]);
  response.end(body);
}

/**
 * Refuses a request whose body will not be read, and closes the connection. The answer goes out whole, but the socket
 * stays open for a moment while the rest of the body is thrown away: closing it at once would make the system discard
 * the answer before the client reads it.
 */
export function refuseAndClose(
  request: GatewayRequest,
  response: GatewayResponse,
  error: LlameroError,
  {
    dialect,
    lingerMs,
    more,
  }: { readonly dialect: Dialect; readonly lingerMs: number; readonly more: readonly string[] },
): void {
  const body = errorBody(error, dialect);
  response.writeHead(error.status, [
    ...errorHeaders(error, body, response.requestId),
    ...response.corsHeaders,
    ...more,
    'connection',
    'close',
  ]);
  response.write(body);
  const end = () => {
    clearTimeout(timer);
    response.end();
  };
  const timer = setTimeout(end, lingerMs).unref();
  request.once('end', end);
  response.once('close', end);
  request.resume();
}

/** Answers on a bare socket where HTTP itself went wrong, then closes it, giving the client time to read the answer. */
export function answerOnSocket(socket: Socket, error: LlameroError, requestId: string, lingerMs: number): void {
  const body = errorBody(error);
  const headers = [...errorHeaders(error, body, requestId), 'connection', 'close'];
  let head = `HTTP/1.1 ${error.status} ${REASONS[error.status] ?? 'Error'}\r\n`;
  for (let at = 0; at < headers.length; at += 2) head += `${headers[at]}: ${headers[at + 1]}\r\n`;
  socket.end(`${head}\r\n${body}`);
  const timer = setTimeout(() => socket.destroy(), lingerMs).unref();
  socket.once('close', () => clearTimeout(timer));
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  413: 'Content Too Large',
  431: 'Request Header Fields Too Large',
};

function errorHeaders(error: LlameroError, body: string, requestId: string): string[] {
  const headers = [
    'content-type',
    'application/json',
    'content-length',
    String(Buffer.byteLength(body)),
    'x-request-id',
    requestId,
  ];
  const retryAfter = retryAfterOf(error);
  if (retryAfter !== null) headers.push('retry-after', retryAfter);
  if (error.status === 401) headers.push('www-authenticate', 'Bearer');
  return headers;
}
