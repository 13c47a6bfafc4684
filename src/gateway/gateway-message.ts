import { ANONYMOUS, type Client } from '../core/admission/client.ts';
import { IncomingMessage, ServerResponse } from './node-http.ts';
import type { Relay } from './relay.ts';

/** A request as the server makes it, with a place for its owner: listeners need no closure per request. */
export class GatewayRequest extends IncomingMessage {
  relay: Relay | null = null;
}

/** A response as the server makes it, with what every answer on it carries. */
export class GatewayResponse extends ServerResponse<GatewayRequest> {
  relay: Relay | null = null;
  /** Echoed as `x-request-id`. */
  requestId = '';
  /** Who sent the request; known once access is granted. */
  client: Client = ANONYMOUS;
  /** Name of the API key that it came with, null without one; known then, too. */
  apiKeyId: string | null = null;
  /** Names and values in turn; empty where the caller is no permitted browser page. */
  corsHeaders: readonly string[] = [];
}
