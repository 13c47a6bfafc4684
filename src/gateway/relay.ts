import { type LlameroError, toLlameroError } from '../core/errors.ts';
import type { PipelineRequest } from '../core/exchange.ts';
import { NO_WORK } from '../core/openai/request-work.ts';
import type { EngineRoute } from '../core/openai/routes.ts';
import { refuseAndClose } from './answer.ts';
import type { GatewayRequest, GatewayResponse } from './gateway-message.ts';
import { IncomingBody } from './incoming-body.ts';
import type { RelayContext } from './relay-context.ts';
import { RelayedAnswer } from './relayed-answer.ts';
import { checkBody, type CheckedBody, checkContentHeaders } from './request-body.ts';
import { contentLengthOf, streamRulesOf, timeoutOf, traceHeaders } from './request-headers.ts';
import { positionOf, type StreamPosition, wantsResumable } from './resumable-position.ts';
import type { StreamOwner } from './resumable-streams.ts';

/** What there is to know of a request without a body. */
const NO_BODY: CheckedBody = { stream: false, work: NO_WORK, continuation: null };

/**
 * One relayed request, from its first body byte to its exchange; or, instead of one, the return of a client to a stream that it has lost the
 * connection of. Its answer is that of {@link RelayedAnswer}. This is the hot path, as there.
 */
export class Relay extends RelayedAnswer {
  readonly #query: string;
  readonly #body: IncomingBody;
  #timeoutHeaderMs: number | null = null;
  #wantsResumable = false;

  constructor(
    context: RelayContext,
    request: GatewayRequest,
    response: GatewayResponse,
    route: EngineRoute,
    query: string,
  ) {
    super(context, request, response, route);
    this.#body = new IncomingBody(context);
    this.#query = query;
  }

  /** Reads the body, if the route has one, and runs the request. `askFirst`: the client waits for `100 Continue`. */
  start(askFirst: boolean): void {
    this.enter();
    try {
      if (this.context.closing !== null) throw this.context.closing;
      const { headers } = this.request;
      const resume = headers['x-stream-resume'];
      if (resume !== undefined && this.route.canStream && wantsResumable(resume)) {
        const position = positionOf(headers, null);
        if (position !== null) {
          // The request once more, as its client has no other: the answer to it is there already.
          if (askFirst) this.response.writeContinue();
          this.request.resume();
          this.#goOnAt(position);
          return;
        }
        this.#wantsResumable = true;
      }
      this.#timeoutHeaderMs = timeoutOf(headers['x-request-timeout'], null);
      if (this.route.method === 'GET') {
        this.#run(null, NO_BODY);
        return;
      }
      const refusal = this.#body.expect(contentLengthOf(headers['content-length']) ?? 0);
      if (refusal !== null) {
        this.#refuseBody(refusal);
        return;
      }
      checkContentHeaders(headers['content-type'], headers['content-encoding']);
    } catch (error) {
      if (!this.hasEnded) this.refuse(toLlameroError(error));
      return;
    }
    if (askFirst) this.response.writeContinue();
    this.request.relay = this;
    this.request.on('data', onBodyData);
    this.request.on('end', onBodyEnd);
  }

  /** Goes on with a stream that its client has lost the connection of, instead of sending a request. */
  comeBack(streamId: string): void {
    this.enter();
    try {
      if (this.context.closing !== null) throw this.context.closing;
      this.#goOnAt(positionOf(this.request.headers, streamId, this.#query) ?? { streamId, offset: 0 });
    } catch (error) {
      if (!this.hasEnded) this.refuse(toLlameroError(error));
    }
  }

  /** A part of the request body came. */
  takeBody(chunk: Buffer): void {
    if (this.hasEnded) return;
    const refusal = this.#body.add(chunk);
    if (refusal !== null) this.#refuseBody(refusal);
  }

  /** The request body is complete. */
  endBody(): void {
    if (this.hasEnded) return;
    const body = this.#body.take();
    try {
      if (this.context.closing !== null) throw this.context.closing;
      const { allowRemoteMedia, continuation } = this.context;
      const rules = streamRulesOf(this.request.headers, continuation);
      this.#run(body, checkBody(body, this.route, { allowRemoteMedia, continuation: rules }));
    } catch (error) {
      if (!this.hasEnded) this.refuse(toLlameroError(error));
    }
  }

  #run(body: Buffer | null, { stream, work, continuation }: CheckedBody): void {
    this.isStream = stream;
    this.isHeld = continuation !== null && continuation.commit !== null;
    const ownMs = stream ? this.context.streamTimeoutMs : this.context.timeoutMs;
    const askedMs = this.#timeoutHeaderMs;
    const request: PipelineRequest = {
      id: this.response.requestId,
      route: this.route,
      query: this.#query,
      client: this.response.client,
      body,
      work,
      continuation,
      stream,
      headers: traceHeaders(this.request.headers.traceparent, this.request.headers.tracestate),
      timeoutMs: askedMs === null ? ownMs : Math.min(askedMs, ownMs ?? askedMs),
    };
    const { backend, resumables } = this.context;
    if (stream && this.#wantsResumable) this.resumable = resumables.open(this.route, this.#owner());
    const exchange = this.resumable?.begin(backend, request, this) ?? backend.exchange(request, this);
    this.follow(exchange);
  }

  #goOnAt({ streamId, offset }: StreamPosition): void {
    const stream = this.context.resumables.find(streamId, this.#owner());
    if (stream.hasEndedAt(offset)) {
      this.settle();
      this.response.writeHead(204, this.commonHeaders());
      this.response.end();
      return;
    }
    stream.checkOffset(offset);
    this.route = stream.route;
    this.isStream = true;
    this.resumable = stream;
    this.openStream();
    const exchange = stream.attach(this, offset);
    this.follow(exchange);
  }

  #owner(): StreamOwner {
    return { clientKey: this.response.client.key, apiKeyId: this.response.apiKeyId };
  }

  protected override releaseBody(): void {
    this.#body.release();
  }

  #refuseBody(error: LlameroError): void {
    this.#body.drop();
    this.settle();
    this.tellRefusal(error);
    refuseAndClose(this.request, this.response, error, {
      dialect: this.route.dialect,
      lingerMs: this.context.limits.lingerMs,
      more: this.limitHeaders(),
    });
  }
}

function onBodyData(this: GatewayRequest, chunk: Buffer): void {
  this.relay?.takeBody(chunk);
}

function onBodyEnd(this: GatewayRequest): void {
  this.relay?.endBody();
}
