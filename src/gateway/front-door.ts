import { LlameroError, toLlameroError } from '../core/errors.ts';
import { type AccessRules, decideAccess, refuseAdmin } from './access.ts';
import { answerError } from './answer.ts';
import { callerOf } from './caller.ts';
import { corsHeaders, preflightHeaders } from './cors.ts';
import type { Dialect, EngineRoute } from '../core/openai/routes.ts';
import type { GatewayRequest, GatewayResponse } from './gateway-message.ts';
import type { RequestHandler } from './http-server.ts';
import { Relay } from './relay.ts';
import type { RelayContext } from './relay-context.ts';
import { requestIdOf } from './request-headers.ts';
import { findPath, type KnownPath, ONE_STREAM, STREAM_PREFIX } from './route-index.ts';
import { NO_ROUTE, tellRefusal } from './tell-refusal.ts';

/** Answers what is not relayed: fastify. */
export type OwnHandler = (request: GatewayRequest, response: GatewayResponse) => void;

/**
 * Every request comes in here: it gets its id, is let in or refused, and goes to a relay or to the gateway's own
 * routes. Relayed requests never see fastify.
 */
export function createFrontDoor(context: RelayContext, rules: AccessRules, own: OwnHandler): RequestHandler {
  return (request, response, askFirst) => {
    const { headers } = request;
    response.requestId = requestIdOf(headers['x-request-id']);
    if (context.closing !== null) response.shouldKeepAlive = false;
    if (headers.origin !== undefined) response.corsHeaders = corsHeaders(rules.corsOrigins, headers.origin);
    const { path, query } = splitTarget(request);
    const known = findPath(path);

    const malformed = refuseMalformed(request);
    if (malformed !== null) {
      refuse(response, known, malformed, 'json', ['connection', 'close']);
      return;
    }
    if (request.method === 'OPTIONS' && known !== undefined) {
      answerOptions(request, response, known);
      return;
    }
    if (known === undefined || !known.open) {
      const refusal = letIn(request, response, known);
      if (refusal !== null) {
        // A client that waits for permission to send its body is told by the closing that it need not.
        refuse(response, known, refusal, known?.post?.dialect, askFirst ? ['connection', 'close'] : []);
        return;
      }
    }
    if (known === undefined) {
      refuse(response, known, new LlameroError('not_found', 'There is no such route; /openapi.json lists them all.'));
      return;
    }
    route(known, path, query, request, response, askFirst);
  };

  function refuse(
    response: GatewayResponse,
    known: KnownPath | undefined,
    error: LlameroError,
    dialect?: Dialect,
    more?: readonly string[],
  ): void {
    tellRefusal(context.backend, { id: response.requestId, route: known?.name ?? NO_ROUTE, error });
    answerError(response, error, dialect, more);
  }

  /** @returns the reason to refuse, or null; then the response knows its client. */
  function letIn(
    request: GatewayRequest,
    response: GatewayResponse,
    known: KnownPath | undefined,
  ): LlameroError | null {
    const access = decideAccess(rules, request.headers, request.socket.remoteAddress);
    if (access instanceof LlameroError) return access;
    if (known?.admin === true) {
      const refusal = refuseAdmin(access);
      if (refusal !== null) return refusal;
    }
    try {
      response.client = callerOf(request, access, rules);
      response.apiKeyId = access === null ? null : access.id;
      return null;
    } catch (error) {
      return toLlameroError(error);
    }
  }

  function route(
    known: KnownPath,
    path: string,
    query: string,
    request: GatewayRequest,
    response: GatewayResponse,
    askFirst: boolean,
  ): void {
    const { method } = request;
    const isRead = method === 'GET' || method === 'HEAD';
    const relayed = method === 'POST' ? known.post : isRead ? known.get : undefined;
    if (relayed !== undefined) {
      new Relay(context, request, response, relayed, query).start(askFirst);
    } else if ((known.own && isRead) || (known.ownPost && method === 'POST')) {
      request.url = path + query;
      for (const [name, value] of pairs(['x-request-id', response.requestId, ...response.corsHeaders])) {
        response.setHeader(name, value);
      }
      own(request, response);
    } else if (known === ONE_STREAM && (method === 'GET' || method === 'DELETE')) {
      const streamId = path.slice(STREAM_PREFIX.length);
      if (method === 'GET') new Relay(context, request, response, STREAM_ROUTE, query).comeBack(streamId);
      else endStream(response, known, streamId);
    } else {
      const error = new LlameroError('method_not_allowed', `This route takes ${known.methods}.`);
      refuse(response, known, error, 'json', ['allow', known.methods]);
    }
  }

  /** Ends a stream that its client wants no more of; closing the connection does not. */
  function endStream(response: GatewayResponse, known: KnownPath, streamId: string): void {
    try {
      const owner = { clientKey: response.client.key, apiKeyId: response.apiKeyId };
      const stream = context.resumables.find(streamId, owner);
      stream.cancel(new LlameroError('cancelled', 'The caller cancelled the request.'));
      response.writeHead(204, ['x-request-id', response.requestId, ...response.corsHeaders]);
      response.end();
    } catch (error) {
      refuse(response, known, toLlameroError(error));
    }
  }
}

/** What a client that comes back is answered as, until its stream is found. */
const STREAM_ROUTE: EngineRoute = {
  method: 'GET',
  path: `${STREAM_PREFIX}{id}`,
  dialect: 'json',
  needsSlot: false,
  canStream: true,
  name: ONE_STREAM.name,
};

/** Path and query of the request target. The absolute form, which proxies use, is accepted as RFC 9112 demands. */
function splitTarget(request: GatewayRequest): { path: string; query: string } {
  let target = request.url ?? '/';
  if (!target.startsWith('/')) {
    const absolute = /^https?:\/\/([^/?#]*)(\/[^#]*)?$/i.exec(target);
    if (absolute !== null) {
      // By RFC 9112 section 3.2.2 the authority of the target replaces the Host header.
      request.headers.host = absolute[1];
      target = absolute[2] ?? '/';
    }
  }
  const mark = target.indexOf('?');
  return mark === -1 ? { path: target, query: '' } : { path: target.slice(0, mark), query: target.slice(mark) };
}

function* pairs(flat: readonly string[]): Generator<[string, string]> {
  for (let at = 0; at + 1 < flat.length; at += 2) yield [flat[at] ?? '', flat[at + 1] ?? ''];
}

/** What node:http lets pass although HTTP forbids it. */
function refuseMalformed(request: GatewayRequest): LlameroError | null {
  const { rawHeaders } = request;
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at];
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts += 1;
  }
  if (hosts > 1 || (hosts === 0 && request.httpVersionMinor > 0)) {
    return new LlameroError('invalid_request', 'The request must have exactly one Host header.');
  }
  const { expect } = request.headers;
  if (expect !== undefined && expect.toLowerCase() !== '100-continue') {
    return new LlameroError('invalid_request', 'Expect: nothing but 100-continue is supported.', { status: 417 });
  }
  return null;
}

/** Without permitted origins the answer carries no CORS headers, so that a browser goes no further. */
function answerOptions(request: GatewayRequest, response: GatewayResponse, known: KnownPath): void {
  const more =
    response.corsHeaders.length === 0
      ? []
      : preflightHeaders(known.methods, request.headers['access-control-request-headers']);
  response.writeHead(204, [
    'allow',
    known.methods,
    'x-request-id',
    response.requestId,
    ...response.corsHeaders,
    ...more,
  ]);
  response.end();
}
