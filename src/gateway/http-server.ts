import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { LlameroError } from '../core/errors.ts';
import { answerOnSocket } from './answer.ts';
import { GatewayRequest, GatewayResponse } from './gateway-message.ts';
import type { GatewayLimits } from './limits.ts';
import { createServer } from './node-http.ts';
import { newRequestId } from '../core/request-id.ts';
import { findPath } from './route-index.ts';
import { NO_ROUTE, type Refusal } from './tell-refusal.ts';

/** The server of the gateway, whose messages are its own classes. */
export type GatewayServer = Server<typeof GatewayRequest, typeof GatewayResponse>;

/** Takes every request. `askFirst`: the client waits for `100 Continue` before it sends its body. */
export type RequestHandler = (request: GatewayRequest, response: GatewayResponse, askFirst: boolean) => void;

/** Hears of each request that was answered below HTTP. */
export type RefusalListener = (refusal: Refusal) => void;

/** The newest response of a connection, to tell whether an answer may still be written on the bare socket. */
const NEWEST = Symbol('newest response');
/** The responses that wait for their turn on a connection, oldest first; only where requests were pipelined. */
const QUEUED = Symbol('queued responses');
type TrackedSocket = Socket & { [NEWEST]?: GatewayResponse; [QUEUED]?: GatewayResponse[] };

/**
 * A node:http server with strict parsing and all limits set. Whatever goes wrong below HTTP (bad framing, headers too
 * large, a client too slow) is answered in the shape of every other error, and the connection is closed.
 */
export function createHttpServer(
  limits: GatewayLimits,
  handle: RequestHandler,
  onRefused: RefusalListener,
): GatewayServer {
  const server = createServer<typeof GatewayRequest, typeof GatewayResponse>({
    IncomingMessage: GatewayRequest,
    ServerResponse: GatewayResponse,
    insecureHTTPParser: false,
    // Checked by the front door, which answers in our shape.
    requireHostHeader: false,
    noDelay: true,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    connectionsCheckingInterval: limits.connectionsCheckingIntervalMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    maxHeaderSize: limits.maxHeaderBytes,
  });
  server.maxConnections = limits.maxConnections;
  // Node drops headers beyond a count silently; their total size is limited anyway.
  server.maxHeadersCount = 0;
  server.on('request', (request, response) => {
    track(response);
    handle(request, response, false);
  });
  server.on('checkContinue', (request: GatewayRequest, response: GatewayResponse) => {
    track(response);
    handle(request, response, true);
  });
  // Unknown expectations reach the front door too, which refuses them.
  server.on('checkExpectation', (request: GatewayRequest, response: GatewayResponse) => {
    track(response);
    handle(request, response, true);
  });
  server.on('connect', (_request, socket) => {
    const error = new LlameroError('method_not_allowed', 'CONNECT is not supported.');
    refuseOnSocket(socket as Socket, { id: newRequestId(), route: NO_ROUTE, error });
  });
  server.on('clientError', (error, socket) => onClientError(error, socket as Socket));
  return server;

  function refuseOnSocket(socket: Socket, refusal: Refusal): void {
    onRefused(refusal);
    answerOnSocket(socket, refusal.error, refusal.id, limits.lingerMs);
  }

  /** Answers a failure below HTTP. */
  function onClientError(error: Error & { code?: string }, socket: Socket): void {
    // Answered already; what still comes is thrown away until the socket is closed.
    if (socket.writableEnded && !socket.destroyed) return;
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const newest = (socket as TrackedSocket)[NEWEST];
    if (newest !== undefined && !mayAnswer(newest)) {
      socket.destroy();
      return;
    }
    const refusal = { id: newRequestId(), route: routeOf(newest), error: describeClientError(error.code) };
    refuseOnSocket(socket, refusal);
  }
}

/** The route of a request whose body went wrong. Of one whose head did nothing is known. */
function routeOf(newest: GatewayResponse | undefined): string {
  if (newest === undefined || newest.req.complete) return NO_ROUTE;
  const [path = ''] = (newest.req.url ?? '').split('?', 1);
  return findPath(path)?.name ?? NO_ROUTE;
}

/**
 * Not while an answer is on its way, or another one is waiting behind it, and not after a request was answered before
 * its body had come: bytes written then would be taken for a part of that answer, or for an answer to nothing.
 */
function mayAnswer(newest: GatewayResponse): boolean {
  if (newest.writableFinished) return newest.req.complete;
  return !newest.headersSent && newest.socket !== null;
}

function describeClientError(code: string | undefined): LlameroError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new LlameroError('request_too_large', 'The request line and headers are larger than the limit.', {
        status: 431,
      });
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new LlameroError('request_too_large', 'The chunk extensions of the body are too large.');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new LlameroError('request_timeout', 'The request was not received in time.');
    default:
      return new LlameroError('invalid_request', 'The request is not valid HTTP/1.1.', { details: { parser: code } });
  }
}

function track(response: GatewayResponse): void {
  const socket = response.req.socket as TrackedSocket;
  socket[NEWEST] = response;
  // Node gives a response its socket when all before it are finished.
  if (response.socket === null) queue(socket, response);
}

/** Node 22 tells a response that its connection is gone only when it was its turn; the others are told here. */
function queue(socket: TrackedSocket, response: GatewayResponse): void {
  if (socket[QUEUED] === undefined) {
    socket[QUEUED] = [];
    socket.once('close', closeQueued);
  }
  socket[QUEUED].push(response);
  response.once('socket', leaveQueue);
}

function leaveQueue(this: GatewayResponse): void {
  (this.req.socket as TrackedSocket)[QUEUED]?.shift();
}

function closeQueued(this: TrackedSocket): void {
  for (const response of this[QUEUED] ?? []) response.relay?.close();
}
