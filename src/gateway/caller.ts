import type { Socket } from 'node:net';
import type { Client } from '../core/admission/client.ts';
import { identifyClient } from '../core/admission/identify-client.ts';
import type { SessionRoll } from '../core/admission/session-roll.ts';
import type { TrustedProxies } from '../core/admission/trusted-proxies.ts';
import type { GatewayRequest } from './gateway-message.ts';
import type { ApiKeyEntry } from './key-file.ts';

/** Whom a connection was found to belong to when its last request said nothing about it. */
const KNOWN = Symbol('known caller');
type KnownSocket = Socket & { [KNOWN]?: { readonly apiKey: ApiKeyEntry | null; readonly client: Client } };

/**
 * Who sends a request to which access was granted. The requests of one connection share one object as long as they
 * carry the same key and no header that names somebody.
 *
 * @throws LlameroError `invalid_request`, see {@link identifyClient}.
 */
export function callerOf(
  request: GatewayRequest,
  apiKey: ApiKeyEntry | null,
  { trustedProxies, sessions }: { readonly trustedProxies: TrustedProxies; readonly sessions: SessionRoll },
): Client {
  const { headers } = request;
  const socket: KnownSocket = request.socket;
  const isPlain =
    headers['x-user-id'] === undefined &&
    headers['x-session-id'] === undefined &&
    headers['x-forwarded-for'] === undefined &&
    headers.forwarded === undefined &&
    headers['x-priority'] === undefined;
  const known = socket[KNOWN];
  // A key file that was read again has entries of its own.
  if (isPlain && known !== undefined && known.apiKey === apiKey) return known.client;
  const client = identifyClient({ remoteAddress: socket.remoteAddress, headers, apiKey, trustedProxies, sessions });
  if (isPlain) socket[KNOWN] = { apiKey, client };
  return client;
}
