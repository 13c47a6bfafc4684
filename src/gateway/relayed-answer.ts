import { rateLimitHeaders } from '../core/admission/rate-limit-headers.ts';
import type { RateLimitState } from '../core/admission/rate-limit-policy.ts';
import type { LlameroError } from '../core/errors.ts';
import type { Exchange, ResponseHead, ResponseSink } from '../core/exchange.ts';
import { streamErrorEvent } from '../core/openai/error-body.ts';
import type { PromptProgress } from '../core/openai/prompt-progress.ts';
import type { EngineRoute } from '../core/openai/routes.ts';
import { answerError } from './answer.ts';
import { answerHeaders } from './answer-headers.ts';
import type { KeptAnswer } from './answer-keeper.ts';
import type { GatewayRequest, GatewayResponse } from './gateway-message.ts';
import type { RelayContext } from './relay-context.ts';
import { RelayedStream } from './relayed-stream.ts';
import type { ResumableStream } from './resumable-stream.ts';
import { tellRefusal } from './tell-refusal.ts';

/** A whole answer of so many bytes at most is written in one piece with its head; beyond, copying costs more than it saves. */
const MOST_TEXT_BYTES = 16_384;

/**
 * The answer to one relayed request: how it is written, what is told while it is waited for, and how it ends. Who extends this brings the
 * exchange that it comes from. This is the hot path: no promise and no closure per request or per chunk, and the bytes are not
 * copied.
 */
export abstract class RelayedAnswer implements ResponseSink, KeptAnswer {
  listIndex = -1;
  protected readonly context: RelayContext;
  protected readonly request: GatewayRequest;
  protected readonly response: GatewayResponse;
  protected route: EngineRoute;
  /** It was asked for as a stream. */
  protected isStream = false;
  /** It is a stream of which nothing comes before it is complete. */
  protected isHeld = false;
  /** The stream, where it outlives its connection. */
  protected resumable: ResumableStream | null = null;
  #exchange: Exchange | null = null;
  #stream: RelayedStream | null = null;
  #head: ResponseHead | null = null;
  #limits: RateLimitState | null = null;
  /** Its place in the queue when it came, if its client asked for it. */
  #queuePosition: number | null = null;
  #progress: PromptProgress | null = null;
  #ended = false;
  #waitingTicks = 0;
  #stalledTicks = 0;

  constructor(context: RelayContext, request: GatewayRequest, response: GatewayResponse, route: EngineRoute) {
    this.context = context;
    this.request = request;
    this.response = response;
    this.route = route;
  }

  /** Ends the request with `reason`: as an error answer, or as an error event where a stream is open. */
  shutDown(reason: LlameroError): void {
    if (this.#ended) return;
    if (this.#exchange === null) this.refuse(reason);
    else this.#exchange.cancel(reason);
  }

  /** The client is gone, or has its whole answer. */
  close(): void {
    this.context.answers.delete(this);
    if (this.#ended) return;
    this.settle();
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
    const asked = this.request.headers['x-queue-position'];
    if (this.#ended || asked === undefined || asked === 'false' || asked === '0') return;
    this.#queuePosition = position;
    if (this.isStream) this.openStream().tick(`queue position ${position}`);
  }

  onProgress(progress: PromptProgress): void {
    this.#progress = progress;
  }

  onHead(head: ResponseHead): void {
    if (this.#ended) return;
    this.#head = head;
    if (head.contentType.startsWith('text/event-stream')) this.openStream();
  }

  onData(chunk: Buffer): boolean {
    if (this.#ended) return true;
    if (this.#stream !== null) return this.#stream.data(chunk);
    const head = this.#head;
    if (head === null) return true;
    this.settle();
    const headers = this.commonHeaders();
    headers.push('content-type', head.contentType);
    this.response.writeTrustedHead(headers, chunk.length);
    // As one text with the head, byte for byte: one write instead of two.
    if (chunk.length <= MOST_TEXT_BYTES) this.response.end(chunk.toString('latin1'), 'latin1');
    else this.response.end(chunk);
    return true;
  }

  onEnd(): void {
    if (this.#ended) return;
    this.settle();
    this.#stream?.end();
  }

  onError(error: LlameroError): void {
    if (this.#ended) return;
    if (this.#stream === null) {
      this.#fail(error);
    } else {
      this.settle();
      this.#stream.end(streamErrorEvent(this.route.dialect, error));
    }
  }

  tick(): void {
    // It waits behind another answer of its connection.
    if (this.response.socket === null) return;
    if (this.#ended || this.response.writableNeedDrain) this.#tickStalled();
    else if (this.#head !== null) this.#stream?.tick(null);
    else if (this.isStream) this.#tickWaiting();
  }

  /** Lets go of the request body; called once, when the answer ends. */
  protected abstract releaseBody(): void;

  /** It has its answer, or nobody waits for one. */
  protected get hasEnded(): boolean {
    return this.#ended;
  }

  /** It counts as running from now on. */
  protected enter(): void {
    this.context.running += 1;
    this.context.answers.add(this);
    this.response.relay = this;
    this.response.on('close', onResponseClose);
  }

  /** What the answer comes from; where it came already, there is nothing to follow. */
  protected follow(exchange: Exchange): void {
    if (!this.#ended) this.#exchange = exchange;
  }

  /** The head goes out; idempotent. */
  protected openStream(): RelayedStream {
    if (this.#stream === null) {
      const { pacer } = this.context;
      const resumable = this.resumable;
      this.#stream =
        resumable === null
          ? new RelayedStream(this.response, pacer, this.commonHeaders())
          : new RelayedStream(
              this.response,
              pacer,
              [...this.commonHeaders(), 'x-stream-id', resumable.announce()],
              resumable,
            );
      this.response.on('drain', onResponseDrain);
    }
    return this.#stream;
  }

  /** Fails before there is an exchange, which would tell of it. */
  protected refuse(error: LlameroError): void {
    this.tellRefusal(error);
    this.#fail(error);
  }

  /** To be called once, where it fails before there is an exchange. */
  protected tellRefusal(error: LlameroError): void {
    tellRefusal(this.context.backend, { id: this.response.requestId, route: this.route.name, error });
  }

  /** It has its answer, or will have none: to be called once, before the last of it is written. */
  protected settle(): void {
    this.#ended = true;
    const context = this.context;
    if (context.closing !== null) closeAfter(this.response);
    context.running -= 1;
    this.releaseBody();
    if (context.running === 0) context.onIdle?.();
  }

  protected commonHeaders(): string[] {
    return answerHeaders(this.response, {
      dialect: this.route.dialect,
      head: this.#head,
      limits: this.#limits,
      queuePosition: this.#queuePosition,
    });
  }

  protected limitHeaders(): readonly string[] {
    const state = this.#limits ?? this.context.backend.limitsOf?.(this.response.client) ?? null;
    return state === null ? [] : rateLimitHeaders(state);
  }

  /** Nothing of the answer is there yet; whoever waits for long is told what for. */
  #tickWaiting(): void {
    this.#waitingTicks += 1;
    const position = this.#stream === null ? null : (this.#exchange?.queuePosition() ?? null);
    if (position !== null) {
      this.#stream?.tick(`queue position ${position}`);
    } else if (this.#progress !== null && this.#waitingTicks > 1) {
      // The head goes out for it: from here on a failure is told by an event.
      this.openStream().tick(`prompt ${this.#progress.processed}/${this.#progress.total} tokens`);
    } else if (this.isHeld && this.#waitingTicks > 1) {
      this.openStream().tick(null);
    } else {
      this.#stream?.tick(null);
    }
  }

  /** The answer, or as much of it as there is, waits for its client. */
  #tickStalled(): void {
    this.#stalledTicks += 1;
    const { stalledClientMs, heartbeatIntervalMs } = this.context.limits;
    // The response's own close then cancels the exchange.
    if (this.#stalledTicks * heartbeatIntervalMs >= stalledClientMs) this.response.destroy();
  }

  #fail(error: LlameroError): void {
    this.settle();
    answerError(this.response, error, this.route.dialect, this.limitHeaders());
  }
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
