import type { IncomingHttpHeaders } from 'node:http';
import ipaddr from 'ipaddr.js';
import { type IpAddress, isLoopbackAddress, parseAddress } from '../core/admission/client-address.ts';
import { findOrigin } from '../core/admission/forwarded.ts';
import type { SessionRoll } from '../core/admission/session-roll.ts';
import type { TrustedProxies } from '../core/admission/trusted-proxies.ts';
import { LlameroError } from '../core/errors.ts';
import type { ApiKeyEntry } from './key-file.ts';

/** Who may call. Pure decisions over a request's headers and the address of its socket. */

/** Verifies keys; see {@link KeyRing}. */
export interface KeyVerifier {
  verify(key: string): ApiKeyEntry | null;
}

/** What access is decided by. */
export interface AccessRules {
  /** null: no key file is configured, so only callers on this machine are served. */
  readonly keys: KeyVerifier | null;
  /** Origins of browser pages that may call; `*` for any. */
  readonly corsOrigins: readonly string[];
  /** Names, beside those of loopback, by which the gateway may be called without keys: its own host names. */
  readonly hostNames: ReadonlySet<string>;
  /** Proxies that tell truly whom they call for. */
  readonly trustedProxies: TrustedProxies;
  /** Sessions that callers without a key name themselves. */
  readonly sessions: SessionRoll;
}

/**
 * Decides on one request.
 *
 * With keys: the caller must present one. Without keys: the call must come from this machine, no proxy may stand in
 * for a caller elsewhere, and no web page may call through the browser of somebody who sits at this machine; neither
 * from another origin nor by pointing its own host name at this address (DNS rebinding).
 *
 * @param remoteAddress Of the socket; undefined once it is broken.
 * @returns the reason to refuse; else the entry of the verified key, or null where there are no keys.
 */
export function decideAccess(
  rules: AccessRules,
  headers: IncomingHttpHeaders,
  remoteAddress: string | undefined,
): LlameroError | ApiKeyEntry | null {
  if (rules.keys !== null) return verifyKey(rules.keys, headers);
  if (!isFromHere(headers, remoteAddress, rules.trustedProxies)) {
    return new LlameroError(
      'invalid_api_key',
      'This server has no API keys and so serves its own machine only. Its operator can add one with ' +
        '`llamero keys add` and start it with --api-key-file.',
    );
  }
  return refuseHost(rules, headers.host) ?? refusePage(rules, headers);
}

/**
 * Decides on a request, already let in, to a route that does something to the running server. Where there are keys it takes
 * one that may administer, from this machine too: a reverse proxy that tells nothing of its callers would make them all local.
 *
 * @param apiKey What {@link decideAccess} gave out; null: there are no keys, and the call comes from this machine.
 * @returns the reason to refuse, or null.
 */
export function refuseAdmin(apiKey: ApiKeyEntry | null): LlameroError | null {
  if (apiKey === null || apiKey.mayAdminister === true) return null;
  const message = 'This route needs a key that may administer: `llamero keys add NAME --admin`.';
  return new LlameroError('permission_denied', message);
}

/** Whether an address is this machine's loopback. A socket without one is not: its client has just broken off. */
export function isLoopback(address: string | undefined): boolean {
  if (address === undefined) return false;
  if (address === '127.0.0.1' || address === '::1' || address === '::ffff:127.0.0.1') {
    return true;
  }
  const parsed = parseAddress(address);
  return parsed !== null && isLoopbackAddress(parsed);
}

/** The host part of a `Host` header, lower-cased, without port and brackets. */
export function hostNameOf(host: string): string {
  const bare = host.startsWith('[') ? host.slice(1, host.indexOf(']')) : host.replace(/:\d*$/, '');
  return bare.toLowerCase().replace(/\.$/, '');
}

function verifyKey(keys: KeyVerifier, headers: IncomingHttpHeaders): LlameroError | ApiKeyEntry {
  const { authorization } = headers;
  const apiKey = headers['x-api-key'];
  let key: string | undefined;
  if (authorization !== undefined) key = /^Bearer +(\S+) *$/i.exec(authorization)?.[1];
  else if (typeof apiKey === 'string') key = apiKey;
  if (key === undefined || key === '') {
    return new LlameroError(
      'invalid_api_key',
      'An API key is needed: send it as `Authorization: Bearer KEY` or as `x-api-key: KEY`.',
    );
  }
  return keys.verify(key) ?? new LlameroError('invalid_api_key', 'This API key is not known.');
}

/**
 * A reverse proxy on this machine must not turn the whole world into local callers. One that is trusted is asked whom
 * it calls for; of one that is not, or that does not tell, every address that it names must be of this machine.
 */
function isFromHere(
  headers: IncomingHttpHeaders,
  remoteAddress: string | undefined,
  trustedProxies: TrustedProxies,
): boolean {
  const isForwarded = headers.forwarded !== undefined || headers['x-forwarded-for'] !== undefined;
  if (!isForwarded) return isLoopback(remoteAddress);
  const remote = parseAddress(remoteAddress ?? '');
  if (remote === null) return false;
  if (trustedProxies.has(remote)) {
    // What a proxy elsewhere calls loopback is its own machine.
    const proxiesHere = { has: (address: IpAddress) => isLoopbackAddress(address) && trustedProxies.has(address) };
    const { address, certainty } = findOrigin(remote, headers, proxiesHere, false);
    return certainty === 'known' && isLoopbackAddress(address);
  }
  return isLoopbackAddress(remote) && !isForwardedFromElsewhere(headers);
}

function isForwardedFromElsewhere(headers: IncomingHttpHeaders): boolean {
  if (headers.forwarded !== undefined) return true;
  const forwarded = headers['x-forwarded-for'];
  if (forwarded === undefined) return false;
  const addresses = (Array.isArray(forwarded) ? forwarded.join(',') : forwarded).split(',');
  return !addresses.every((address) => isLoopback(address));
}

/** The `Host` that was accepted last: nearly every request has the same, and parsing addresses costs 5 µs. */
const acceptedHosts = new WeakMap<AccessRules, string>();

/** An address cannot be rebound, and names under these endings are not handed out by public DNS. */
function refuseHost(rules: AccessRules, host: string | undefined): LlameroError | null {
  if (host === undefined || acceptedHosts.get(rules) === host) return null;
  const name = hostNameOf(host);
  const isOurs = name === 'localhost' || ipaddr.isValid(name) || rules.hostNames.has(name);
  if (isOurs || /\.(localhost|local|internal)$/.test(name)) {
    acceptedHosts.set(rules, host);
    return null;
  }
  return new LlameroError(
    'permission_denied',
    'Without API keys this server answers only to the name localhost, to addresses and to its own host name.',
  );
}

function refusePage(rules: AccessRules, headers: IncomingHttpHeaders): LlameroError | null {
  const { origin } = headers;
  const site = headers['sec-fetch-site'];
  if (origin === undefined) {
    // Images, scripts and the like of other pages; following a link to this server is fine.
    const isForeign = site === 'cross-site' || site === 'same-site';
    return isForeign && headers['sec-fetch-mode'] !== 'navigate' ? foreignPage() : null;
  }
  if (isAllowedOrigin(rules.corsOrigins, origin)) return null;
  return headers.host !== undefined && origin === `http://${headers.host}` ? null : foreignPage();
}

/** Whether a browser page of that origin may call. */
export function isAllowedOrigin(corsOrigins: readonly string[], origin: string): boolean {
  return corsOrigins.includes('*') || corsOrigins.includes(origin);
}

function foreignPage(): LlameroError {
  return new LlameroError(
    'permission_denied',
    'Web pages of other origins may not call this server; its operator can allow them with gateway.corsOrigins.',
  );
}
