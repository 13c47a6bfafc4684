import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { ANONYMOUS, type Client } from '../core/admission/client.ts';
import { headOf } from './answer-head.ts';
import { IncomingMessage, ServerResponse } from './node-http.ts';
import type { Relay } from './relay.ts';
import type { RelayedAnswer } from './relayed-answer.ts';

/** A request as the server makes it, with a place for its owner: listeners need no closure per request. */
export class GatewayRequest extends IncomingMessage {
  relay: Relay | null = null;
}

/** Stands for a head that was sent. */
const SENT = 'sent';

/** A response as the server makes it, with what every answer on it carries. */
export class GatewayResponse extends ServerResponse<GatewayRequest> {
  relay: RelayedAnswer | null = null;
  /** Echoed as `x-request-id`. */
  requestId = '';
  /** Who sent the request; known once access is granted. */
  client: Client = ANONYMOUS;
  /** Name of the API key that it came with, null without one; known then, too. */
  apiKeyId: string | null = null;
  /** Names and values in turn; empty where the caller is no permitted browser page. */
  corsHeaders: readonly string[] = [];
  /** The head as node:http keeps it until it is sent; later only that it is not empty counts. */
  declare protected _header: string | null;
  /** Of node:http as well: whether the head has been written. */
  declare protected _headerSent: boolean;

  /**
   * As `writeHead(200, headers)`, for headers that need no second look: `writeHead` examines each name and value for what may
   * not stand there, which takes longer than all else that is done for an answer of a kilobyte.
   * @param headers names in lower case and values in turn, of characters that are allowed there.
   * @param contentLength null: the answer is chunked.
   */
  writeTrustedHead(headers: readonly string[], contentLength: number | null): void {
    if (this.#isOrdinary()) this._header = headOf(headers, contentLength, this.#keepAliveMs());
    if (this.headersSent) {
      this.chunkedEncoding = contentLength === null;
      return;
    }
    // Where the connection ends with this answer, which node:http must know; and should it keep its heads otherwise one day.
    const framing = contentLength === null ? [] : ['content-length', String(contentLength)];
    this.writeHead(200, [...headers, ...framing]);
  }

  /**
   * Lets go of the text of a head that is on its way. node:http keeps it as long as the response, in some thirty pieces that
   * take more than a kilobyte.
   */
  forgetHead(): void {
    if (this._headerSent) this._header = SENT;
  }

  #isOrdinary(): boolean {
    const { method, httpVersion, headers } = this.req;
    return this.shouldKeepAlive && httpVersion === '1.1' && method !== 'HEAD' && headers.expect === undefined;
  }

  #keepAliveMs(): number {
    return (this.req.socket as Socket & { server?: Server }).server?.keepAliveTimeout ?? 0;
  }
}
