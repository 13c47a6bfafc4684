import { isUtf8 } from 'node:buffer';
import { LlameroError } from '../errors.ts';
import { ANONYMOUS, type Client, type ClientLimits, PRIORITY_CLASSES, type PriorityClass } from './client.ts';
import { addressId, type IpAddress, parseAddress } from './client-address.ts';
import { clientKey, scopedId } from './client-key.ts';
import { isIdentity } from './client-options.ts';
import { findOrigin, type ForwardingHeaders } from './forwarded.ts';
import type { SessionRoll } from './session-roll.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

/**
 * Who sends a request over HTTP: userId > sessionId > IP > anonymous. Pure, but for the roll of sessions.
 *
 * `X-User-Id`, `X-Forwarded-For` and `Forwarded` are believed from two kinds of callers only: an API key that may act for
 * others, and, where no key is presented, a trusted proxy. From everybody else they change nothing. `X-Session-Id` is
 * believed from callers without a key as well, within their own address, and only for a few sessions at a time
 * ({@link SessionRoll}): nobody leaves his limits by making up a session for every request. An API key is a user:
 * the one whose id it carries, else one of its own. A key that may not act for others is that user whatever the
 * headers say and whichever proxy they came through, because proxies hand on headers that they do not know.
 *
 * Exactly one client, and so one set of limits, binds each request. What an API key grants (weight, class, limits) it
 * grants to each client that it names, too.
 */

/** What an API key says of its holder. */
export interface ApiKeyIdentity {
  /** Public name of the key. */
  readonly id: string;
  /** The user that it stands for; several keys may stand for one. Default: a user of its own. */
  readonly userId?: string;
  /** See {@link Client.weight}. Default 1. */
  readonly weight?: number;
  /** The highest class that its requests may have. Default `default`. */
  readonly priority?: PriorityClass;
  /** Instead of those of the pool. */
  readonly limits?: Partial<ClientLimits>;
  /** Whether it may say on whose behalf it calls. Default false. */
  readonly mayActForOthers?: boolean;
}

/** The headers that tell who calls, lower-cased as node:http has them. */
export type IdentityHeaders = ForwardingHeaders;

/** What is known of a caller. */
export interface CallerFacts {
  /** Of the socket; undefined once it is broken. */
  readonly remoteAddress: string | undefined;
  readonly headers: IdentityHeaders;
  /** The verified API key, or null without one. */
  readonly apiKey: ApiKeyIdentity | null;
  readonly trustedProxies: TrustedProxies;
  /** Sessions that callers who are not believed otherwise name themselves; without it there are none. */
  readonly sessions?: SessionRoll;
}

/** The longest user or session id that a header may hold. */
const LONGEST_ID = 128;

/**
 * Decides who sends a request.
 *
 * @throws LlameroError `invalid_request` for a malformed `X-Priority`; and where the headers above are believed, for a
 *   user or session id that is repeated, too long or not text, and for forwarding headers that contradict each other.
 *   Guessing then would count one caller's requests as another's.
 */
export function identifyClient(facts: CallerFacts): Client {
  const { apiKey, headers } = facts;
  const { weight = 1, priority = 'default', limits = {} } = apiKey ?? {};
  return {
    ...identityOf(facts),
    weight,
    priority: loweredClass(priority, headers['x-priority']),
    limits,
  };
}

type Identity = Pick<Client, 'pool' | 'key'>;

function identityOf(facts: CallerFacts): Identity {
  const { remoteAddress, headers, apiKey, trustedProxies } = facts;
  if (apiKey !== null && apiKey.mayActForOthers !== true) return identityOfKey(apiKey);
  const remote = parseAddress(remoteAddress ?? '');
  if (apiKey === null && (remote === null || !trustedProxies.has(remote))) return identityOfStranger(remote, facts);

  const userId = readId(headers, 'x-user-id');
  if (userId !== null) return { pool: 'user', key: clientKey('user', 'id', userId) };
  const sessionId = readId(headers, 'x-session-id');
  if (sessionId !== null) return identityOfSession(sessionId, apiKey);
  if (remote === null) return apiKey === null ? ANONYMOUS : identityOfKey(apiKey);
  const origin = findOrigin(remote, headers, trustedProxies, apiKey !== null);
  if (origin.certainty === 'contradictory') throw contradiction();
  // A holder behind whom nobody is named acts for himself.
  if (apiKey !== null && !origin.isBehindHolder) return identityOfKey(apiKey);
  return identityOfAddress(origin.address);
}

function identityOfKey({ id, userId }: ApiKeyIdentity): Identity {
  return { pool: 'user', key: userId === undefined ? clientKey('user', 'key', id) : clientKey('user', 'id', userId) };
}

/** Applications make up session ids each for itself, so those of different keys are different sessions. */
function identityOfSession(sessionId: string, apiKey: ApiKeyIdentity | null): Identity {
  const key =
    apiKey === null
      ? clientKey('session', 'id', sessionId)
      : clientKey('session', 'key', scopedId(apiKey.id, sessionId));
  return { pool: 'session', key };
}

/** Somebody of whom nothing is known but his address. What is wrong with a session that he names is not worth a word. */
function identityOfStranger(address: IpAddress | null, { headers, sessions }: CallerFacts): Identity {
  const sessionId = sessions === undefined ? null : idIn(headers['x-session-id']);
  if (address === null || sessionId === null || sessionId === '') return identityOfAddress(address);
  const id = addressId(address);
  if (sessions?.admit(id, sessionId) !== true) return identityOfAddress(address);
  return { pool: 'session', key: clientKey('session', 'ip', scopedId(id, sessionId)) };
}

function identityOfAddress(address: IpAddress | null): Identity {
  return address === null ? ANONYMOUS : { pool: 'ip', key: clientKey('ip', 'id', addressId(address)) };
}

/**
 * The id in a header, null without one. An empty one is none: proxies send that for callers who are not logged in.
 * node:http joins repeated lines with a comma, so an id cannot hold one.
 */
function readId(headers: IdentityHeaders, name: 'x-user-id' | 'x-session-id'): string | null {
  const header = headers[name];
  if (header === undefined) return null;
  const id = idIn(header);
  if (id !== null) return id === '' ? null : id;
  throw new LlameroError(
    'invalid_request',
    `${name} must be given once, with at most ${LONGEST_ID} characters, without commas and control characters.`,
    { param: name },
  );
}

/** The id in a header; empty for an empty one, null for what cannot be an id. */
function idIn(header: string | readonly string[] | undefined): string | null {
  // Node has taken the spaces around it away. In UTF-8 a character has up to four bytes.
  if (typeof header !== 'string' || header.length > 4 * LONGEST_ID) return null;
  const id = fromHeader(header);
  return id.length <= LONGEST_ID && !id.includes(',') && (id === '' || isIdentity(id)) ? id : null;
}

/** node:http reads headers as Latin-1; what is UTF-8 in truth is the same text as everywhere else then. */
function fromHeader(text: string): string {
  if (!/[-ÿ]/.test(text)) return text;
  const bytes = Buffer.from(text, 'latin1');
  return isUtf8(bytes) ? bytes.toString('utf8') : text;
}

/** `X-Priority` can lower the class of a request, never raise it. */
function loweredClass(granted: PriorityClass, header: string | readonly string[] | undefined): PriorityClass {
  if (header === undefined) return granted;
  const asked = PRIORITY_CLASSES.find((name) => name === header);
  if (asked === undefined) {
    throw new LlameroError('invalid_request', `X-Priority must be one of ${PRIORITY_CLASSES.join(', ')}.`, {
      param: 'x-priority',
    });
  }
  return PRIORITY_CLASSES.indexOf(asked) > PRIORITY_CLASSES.indexOf(granted) ? asked : granted;
}

function contradiction(): LlameroError {
  return new LlameroError(
    'invalid_request',
    'X-Forwarded-For and Forwarded tell different callers. The proxy in front of this server should remove the one that it does not set.',
    { param: 'forwarded' },
  );
}
