import { rateLimitHeaders } from '../core/admission/rate-limit-headers.ts';
import type { RateLimitState } from '../core/admission/rate-limit-policy.ts';
import { LlameroError, toLlameroError } from '../core/errors.ts';
import type { Exchange, PipelineRequest, ResponseHead, ResponseSink } from '../core/exchange.ts';
import { streamErrorEvent } from '../core/openai/error-body.ts';
import type { PromptProgress } from '../core/openai/prompt-progress.ts';
import { NO_WORK } from '../core/openai/request-work.ts';
import type { EngineRoute } from '../core/openai/routes.ts';
import { answerError, refuseAndClose } from './answer.ts';
import { answerHeaders } from './answer-headers.ts';
import type { KeptAnswer } from './answer-keeper.ts';
import type { GatewayRequest, GatewayResponse } from './gateway-message.ts';
import { IncomingBody } from './incoming-body.ts';
import type { RelayContext } from './relay-context.ts';
import { checkBody, type CheckedBody, checkContentHeaders } from './request-body.ts';
import { contentLengthOf, streamRulesOf, timeoutOf, traceHeaders } from './request-headers.ts';
import { RelayedStream } from './relayed-stream.ts';
import { positionOf, type StreamPosition, wantsResumable } from './resumable-position.ts';
import type { ResumableStream } from './resumable-stream.ts';
import type { StreamOwner } from './resumable-streams.ts';
import { tellRefusal } from './tell-refusal.ts';

/** A whole answer of so many bytes at most is written in one piece with its head; beyond, copying costs more than it saves. */
const MOST_TEXT_BYTES = 16_384;

/** What there is to know of a request without a body. */
const NO_BODY: CheckedBody = { stream: false, work: NO_WORK, continuation: null };

/**
 * One relayed request, from its first body byte to the end of its answer. This is the hot path: no promise and no
 * closure per request or per chunk, and the bytes of either side are not copied.
 */
export class Relay implements ResponseSink, KeptAnswer {
  listIndex = -1;
  readonly #context: RelayContext;
  readonly #request: GatewayRequest;
  readonly #response: GatewayResponse;
  #route: EngineRoute;
  readonly #query: string;
  #timeoutHeaderMs: number | null = null;
  readonly #body: IncomingBody;
  #exchange: Exchange | null = null;
  #isStream = false;
  /** It is a stream of which nothing comes before it is complete. */
  #isHeld = false;
  #wantsResumable = false;
  /** The stream, where it outlives its connection. */
  #resumable: ResumableStream | null = null;
  #stream: RelayedStream | null = null;
  #head: ResponseHead | null = null;
  #limits: RateLimitState | null = null;
  /** Its place in the queue when it came, if its client asked for it. */
  #queuePosition: number | null = null;
  #progress: PromptProgress | null = null;
  #ended = false;
  #waitingTicks = 0;
  #stalledTicks = 0;

  constructor(
    context: RelayContext,
    request: GatewayRequest,
    response: GatewayResponse,
    route: EngineRoute,
    query: string,
  ) {
    this.#context = context;
    this.#body = new IncomingBody(context);
    this.#request = request;
    this.#response = response;
    this.#route = route;
    this.#query = query;
  }

  /** Reads the body, if the route has one, and runs the request. `askFirst`: the client waits for `100 Continue`. */
  start(askFirst: boolean): void {
    this.#enter();
    try {
      if (this.#context.closing !== null) throw this.#context.closing;
      const { headers } = this.#request;
      const resume = headers['x-stream-resume'];
      if (resume !== undefined && this.#route.canStream && wantsResumable(resume)) {
        const position = positionOf(headers, null);
        if (position !== null) {
          // The request once more, as its client has no other: the answer to it is there already.
          if (askFirst) this.#response.writeContinue();
          this.#request.resume();
          this.#goOnAt(position);
          return;
        }
        this.#wantsResumable = true;
      }
      this.#timeoutHeaderMs = timeoutOf(headers['x-request-timeout'], null);
      if (this.#route.method === 'GET') {
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
      if (!this.#ended) this.#refuse(toLlameroError(error));
      return;
    }
    if (askFirst) this.#response.writeContinue();
    this.#request.relay = this;
    this.#request.on('data', onBodyData);
    this.#request.on('end', onBodyEnd);
  }

  /** Goes on with a stream that its client has lost the connection of, instead of sending a request. */
  comeBack(streamId: string): void {
    this.#enter();
    try {
      if (this.#context.closing !== null) throw this.#context.closing;
      this.#goOnAt(positionOf(this.#request.headers, streamId, this.#query) ?? { streamId, offset: 0 });
    } catch (error) {
      if (!this.#ended) this.#refuse(toLlameroError(error));
    }
  }

  /** Ends the request with `reason`: as an error answer, or as an error event where a stream is open. */
  shutDown(reason: LlameroError): void {
    if (this.#ended) return;
    if (this.#exchange === null) this.#refuse(reason);
    else this.#exchange.cancel(reason);
  }

  /** A part of the request body came. */
  takeBody(chunk: Buffer): void {
    if (this.#ended) return;
    const refusal = this.#body.add(chunk);
    if (refusal !== null) this.#refuseBody(refusal);
  }

  /** The request body is complete. */
  endBody(): void {
    if (this.#ended) return;
    const body = this.#body.take();
    try {
      if (this.#context.closing !== null) throw this.#context.closing;
      const { allowRemoteMedia, continuation } = this.#context;
      const rules = streamRulesOf(this.#request.headers, continuation);
      this.#run(body, checkBody(body, this.#route, { allowRemoteMedia, continuation: rules }));
    } catch (error) {
      if (!this.#ended) this.#refuse(toLlameroError(error));
    }
  }

  /** The client is gone, or has its whole answer. */
  close(): void {
    this.#context.answers.delete(this);
    if (this.#ended) return;
    this.#settle();
    this.#exchange?.cancel();
  }

  /** The client reads again. */
  drained(): void {
    this.#stalledTicks = 0;
    if (!this.#ended) this.#exchange?.resume();
  }

  onLimits(state: RateLimitState): void {
    this.#limits = state;
  }

  onQueued(position: number): void {
    const asked = this.#request.headers['x-queue-position'];
    if (this.#ended || asked === undefined || asked === 'false' || asked === '0') return;
    this.#queuePosition = position;
    if (this.#isStream) this.#openStream().tick(`queue position ${position}`);
  }

  onProgress(progress: PromptProgress): void {
    this.#progress = progress;
  }

  onHead(head: ResponseHead): void {
    if (this.#ended) return;
    this.#head = head;
    if (head.contentType.startsWith('text/event-stream')) this.#openStream();
  }

  onData(chunk: Buffer): boolean {
    if (this.#ended) return true;
    if (this.#stream !== null) return this.#stream.data(chunk);
    const head = this.#head;
    if (head === null) return true;
    this.#settle();
    const headers = this.#commonHeaders();
    headers.push('content-type', head.contentType);
    this.#response.writeTrustedHead(headers, chunk.length);
    // As one text with the head, byte for byte: one write instead of two.
    if (chunk.length <= MOST_TEXT_BYTES) this.#response.end(chunk.toString('latin1'), 'latin1');
    else this.#response.end(chunk);
    return true;
  }

  onEnd(): void {
    if (this.#ended) return;
    this.#settle();
    this.#stream?.end();
  }

  onError(error: LlameroError): void {
    if (this.#ended) return;
    if (this.#stream === null) {
      this.#fail(error);
    } else {
      this.#settle();
      this.#stream.end(streamErrorEvent(this.#route.dialect, error));
    }
  }

  tick(): void {
    // It waits behind another answer of its connection.
    if (this.#response.socket === null) return;
    if (this.#ended || this.#response.writableNeedDrain) this.#tickStalled();
    else if (this.#head !== null) this.#stream?.tick(null);
    else if (this.#isStream) this.#tickWaiting();
  }

  /** Nothing of the answer is there yet; whoever waits for long is told what for. */
  #tickWaiting(): void {
    this.#waitingTicks += 1;
    const position = this.#stream === null ? null : (this.#exchange?.queuePosition() ?? null);
    if (position !== null) {
      this.#stream?.tick(`queue position ${position}`);
    } else if (this.#progress !== null && this.#waitingTicks > 1) {
      // The head goes out for it: from here on a failure is told by an event.
      this.#openStream().tick(`prompt ${this.#progress.processed}/${this.#progress.total} tokens`);
    } else if (this.#isHeld && this.#waitingTicks > 1) {
      this.#openStream().tick(null);
    } else {
      this.#stream?.tick(null);
    }
  }

  #openStream(): RelayedStream {
    if (this.#stream === null) {
      const { pacer } = this.#context;
      const resumable = this.#resumable;
      this.#stream =
        resumable === null
          ? new RelayedStream(this.#response, pacer, this.#commonHeaders())
          : new RelayedStream(
              this.#response,
              pacer,
              [...this.#commonHeaders(), 'x-stream-id', resumable.announce()],
              resumable,
            );
      this.#response.on('drain', onResponseDrain);
    }
    return this.#stream;
  }

  /** The answer, or as much of it as there is, waits for its client. */
  #tickStalled(): void {
    this.#stalledTicks += 1;
    const { stalledClientMs, heartbeatIntervalMs } = this.#context.limits;
    // The response's own close then cancels the exchange.
    if (this.#stalledTicks * heartbeatIntervalMs >= stalledClientMs) this.#response.destroy();
  }

  #run(body: Buffer | null, { stream, work, continuation }: CheckedBody): void {
    this.#isStream = stream;
    this.#isHeld = continuation !== null && continuation.commit !== null;
    const ownMs = stream ? this.#context.streamTimeoutMs : this.#context.timeoutMs;
    const askedMs = this.#timeoutHeaderMs;
    const request: PipelineRequest = {
      id: this.#response.requestId,
      route: this.#route,
      query: this.#query,
      client: this.#response.client,
      body,
      work,
      continuation,
      stream,
      headers: traceHeaders(this.#request.headers.traceparent, this.#request.headers.tracestate),
      timeoutMs: askedMs === null ? ownMs : Math.min(askedMs, ownMs ?? askedMs),
    };
    const { backend, resumables } = this.#context;
    if (stream && this.#wantsResumable) this.#resumable = resumables.open(this.#route, this.#owner());
    const exchange = this.#resumable?.begin(backend, request, this) ?? backend.exchange(request, this);
    if (!this.#ended) this.#exchange = exchange;
  }

  #enter(): void {
    this.#context.running += 1;
    this.#context.answers.add(this);
    this.#response.relay = this;
    this.#response.on('close', onResponseClose);
  }

  #goOnAt({ streamId, offset }: StreamPosition): void {
    const stream = this.#context.resumables.find(streamId, this.#owner());
    if (stream.hasEndedAt(offset)) {
      this.#settle();
      this.#response.writeHead(204, this.#commonHeaders());
      this.#response.end();
      return;
    }
    stream.checkOffset(offset);
    this.#route = stream.route;
    this.#isStream = true;
    this.#resumable = stream;
    this.#openStream();
    const exchange = stream.attach(this, offset);
    if (!this.#ended) this.#exchange = exchange;
  }

  #owner(): StreamOwner {
    return { clientKey: this.#response.client.key, apiKeyId: this.#response.apiKeyId };
  }

  #refuseBody(error: LlameroError): void {
    this.#body.drop();
    this.#settle();
    this.#tellRefusal(error);
    refuseAndClose(this.#request, this.#response, error, {
      dialect: this.#route.dialect,
      lingerMs: this.#context.limits.lingerMs,
      more: this.#limitHeaders(),
    });
  }

  /** Fails before there is an exchange, which would tell of it. */
  #refuse(error: LlameroError): void {
    this.#tellRefusal(error);
    this.#fail(error);
  }

  #tellRefusal(error: LlameroError): void {
    tellRefusal(this.#context.backend, { id: this.#response.requestId, route: this.#route.name, error });
  }

  #fail(error: LlameroError): void {
    this.#settle();
    answerError(this.#response, error, this.#route.dialect, this.#limitHeaders());
  }

  #settle(): void {
    this.#ended = true;
    const context = this.#context;
    if (context.closing !== null) closeAfter(this.#response);
    context.running -= 1;
    this.#body.release();
    if (context.running === 0) context.onIdle?.();
  }

  #commonHeaders(): string[] {
    return answerHeaders(this.#response, {
      dialect: this.#route.dialect,
      head: this.#head,
      limits: this.#limits,
      queuePosition: this.#queuePosition,
    });
  }

  #limitHeaders(): readonly string[] {
    const state = this.#limits ?? this.#context.backend.limitsOf?.(this.#response.client) ?? null;
    return state === null ? [] : rateLimitHeaders(state);
  }
}

function onBodyData(this: GatewayRequest, chunk: Buffer): void {
  this.relay?.takeBody(chunk);
}

function onBodyEnd(this: GatewayRequest): void {
  this.relay?.endBody();
}

function onResponseClose(this: GatewayResponse): void {
  this.relay?.close();
}

function onResponseDrain(this: GatewayResponse): void {
  this.relay?.drained();
}

/** Keeps a connection from being used again, also where its head went out before that was known. */
function closeAfter(response: GatewayResponse): void {
  response.shouldKeepAlive = false;
  const { socket } = response;
  if (response.headersSent) response.once('finish', () => socket?.destroySoon());
}
