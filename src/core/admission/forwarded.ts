import { addressId, type IpAddress, parseAddress } from './client-address.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

/**
 * Who stands behind a chain of proxies, by `X-Forwarded-For` or `Forwarded` (RFC 7239). Pure.
 *
 * Every proxy appends the address that it was called from, so the chain is true from its right end as far as the
 * proxies are, and what stands further left was written by whoever wanted to.
 */

/** The headers that proxies tell addresses by; repeated lines are one list, as HTTP has it. */
export type ForwardingHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Where the walk along a chain ended. */
export interface Origin {
  /** The last address that could be believed. */
  readonly address: IpAddress;
  /**
   * `known`: the address is that of the caller. `broken`: the next entry was no address, and only the proxy before it is
   * known. `contradictory`: the two headers tell different addresses.
   */
  readonly certainty: 'known' | 'broken' | 'contradictory';
  /** Whether somebody is named behind the caller who was passed by `passHolder`, and this is his address. */
  readonly isBehindHolder: boolean;
}

/** Nobody stands behind so many proxies; a longer chain is taken for broken. */
const MOST_HOPS = 32;

/**
 * Walks from the socket's address away from us, as far as proxies are trusted.
 *
 * @param passHolder Whether the first address that is no proxy is believed as well: that of somebody who showed that he
 *   may act for others.
 */
export function findOrigin(
  remote: IpAddress,
  headers: ForwardingHeaders,
  proxies: TrustedProxies,
  passHolder: boolean,
): Origin {
  const forwardedFor = listOf(headers['x-forwarded-for']);
  const forwarded = listOf(headers['forwarded']);
  if (forwarded === '') return walk(remote, entriesFromRight(forwardedFor), proxies, passHolder);
  const byForwarded = walk(remote, forwardedEntries(forwarded), proxies, passHolder);
  if (forwardedFor === '') return byForwarded;
  // Proxies set one of the two and hand on the other as they got it; nobody here can tell which.
  const byForwardedFor = walk(remote, entriesFromRight(forwardedFor), proxies, passHolder);
  const agree =
    byForwarded.certainty === 'known' && addressId(byForwarded.address) === addressId(byForwardedFor.address);
  return agree ? byForwardedFor : { ...byForwarded, certainty: 'contradictory' };
}

function walk(
  remote: IpAddress,
  entries: Iterator<string, void>,
  proxies: TrustedProxies,
  passHolder: boolean,
): Origin {
  let address = remote;
  let holder: IpAddress | null = null;
  const passes = () => {
    if (proxies.has(address)) return true;
    if (!passHolder || holder !== null) return false;
    holder = address;
    return true;
  };
  for (let hops = 0; passes(); hops += 1) {
    const { value, done } = entries.next();
    if (done === true) break;
    const next = hops < MOST_HOPS ? parseAddress(value) : null;
    if (next === null) return { address, certainty: 'broken', isBehindHolder: isBehind(holder, address) };
    address = next;
  }
  return { address, certainty: 'known', isBehindHolder: isBehind(holder, address) };
}

function isBehind(holder: IpAddress | null, address: IpAddress): boolean {
  return holder !== null && address !== holder;
}

/** Empty where the header says nothing. */
function listOf(header: string | readonly string[] | undefined): string {
  if (header === undefined) return '';
  return (typeof header === 'string' ? header : header.join(',')).trim();
}

/** The entries of a list, which is that of `X-Forwarded-For` already, nearest first. */
function* entriesFromRight(header: string): Generator<string, void> {
  if (header === '') return;
  for (let end = header.length; end >= 0;) {
    const comma = end === 0 ? -1 : header.lastIndexOf(',', end - 1);
    yield header.slice(comma + 1, end);
    end = comma;
  }
}

/**
 * The `for` of each element of `Forwarded`, nearest first; empty where there is none or the element is malformed.
 *
 * It is cut at every comma, quoted or not: no address holds one, and a quotation mark that a caller leaves open must not
 * swallow what the proxy appended.
 */
function* forwardedEntries(header: string): Generator<string, void> {
  for (const element of entriesFromRight(header)) yield forOf(element);
}

const PAIR = /^[ \t]*([!#$%&'*+.^`|~\w-]+)=(?:([!#$%&'*+.^`|~\w:[\]-]+)|"([^"\\]*)")[ \t]*$/;

function forOf(element: string): string {
  let found = '';
  for (const pair of element.split(';')) {
    const match = PAIR.exec(pair);
    if (match === null) return '';
    if (match[1]?.toLowerCase() !== 'for') continue;
    if (found !== '') return '';
    found = match[2] ?? match[3] ?? '';
  }
  return found;
}
