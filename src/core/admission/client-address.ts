import { isIPv4, isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';

/** From the text of an address, however it is spelled, to one identity. Pure. */

/** A parsed address; never an IPv4-mapped IPv6 one, which is its IPv4 address here. */
export type IpAddress = ipaddr.IPv4 | ipaddr.IPv6;

/** Nothing longer is an address: 45 characters of IPv6, a zone of the system's at most 64, brackets and a port. */
const LONGEST_TEXT = 128;
/** Brackets and port; RFC 7239 section 6.2 allows a made-up port, which begins with an underscore. */
const BRACKETED = /^\[([^\]]*)\](?::(?:\d{1,5}|_[\w.-]+))?$/;
const IPV4_WITH_PORT = /^([\d.]+):(?:\d{1,5}|_[\w.-]+)$/;
const ZONE = /^[\w.~%-]+$/;
const DOTTED_TAIL = /:(\d+)\.(\d+)\.(\d+)\.(\d+)$/;

/** IPv6 ranges whose last 32 bits are the IPv4 address of the client, seen through a translator. */
const TRANSLATED = [
  // RFC 6052: NAT64, and how a server without IPv4 sees callers that have nothing else (RFC 7755).
  ipaddr.IPv6.parseCIDR('64:ff9b::/96'),
  // RFC 7915.
  ipaddr.IPv6.parseCIDR('::ffff:0:0:0/96'),
];
/** RFC 3056: the owner of one IPv4 address owns the 65,536 networks of 64 bits that begin with it. */
const SIX_TO_FOUR = ipaddr.IPv6.parseCIDR('2002::/16');
/** Whoever sits at this machine may call from any of its 16 million loopback addresses. */
const LOOPBACK_ID = '127.0.0.1';

/**
 * Reads an address: with or without brackets, port and zone, in any case, with spaces around it.
 *
 * Strict where readers differ: IPv4 is four decimal numbers without leading zeros, so that nobody is one client here
 * and another one elsewhere.
 *
 * @returns null for everything else, `unknown` and the made-up names of RFC 7239 included.
 */
export function parseAddress(text: string): IpAddress | null {
  if (text.length > LONGEST_TEXT) return null;
  const trimmed = text.replaceAll(/^[ \t]+|[ \t]+$/g, '');
  const bracketed = BRACKETED.exec(trimmed)?.[1];
  if (bracketed !== undefined) return parseIpv6(bracketed);
  const bare = IPV4_WITH_PORT.exec(trimmed)?.[1] ?? trimmed;
  return isIPv4(bare) ? new ipaddr.IPv4(bare.split('.').map(Number)) : parseIpv6(bare);
}

/** Whether only this machine can have the address. */
export function isLoopbackAddress(address: IpAddress): boolean {
  return address.range() === 'loopback';
}

/**
 * What an address counts as: IPv4 itself, IPv6 its /64, because one subscriber has at least that many; all loopback
 * addresses are one. An IPv6 address that stands for a public IPv4 address (NAT64, 6to4) counts as that. At most 43 characters.
 */
export function addressId(address: IpAddress): string {
  if (isLoopbackAddress(address)) return LOOPBACK_ID;
  if (address instanceof ipaddr.IPv4) return address.toString();
  return embeddedIpv4(address) ?? `${network64(address.parts)}/64`;
}

/** {@link addressId} of a text; null where it is no address. */
export function clientAddressId(text: string): string | null {
  const address = parseAddress(text);
  return address === null ? null : addressId(address);
}

function parseIpv6(text: string): IpAddress | null {
  const percent = text.indexOf('%');
  const bare = percent === -1 ? text : text.slice(0, percent);
  if (percent !== -1 && !ZONE.test(text.slice(percent + 1))) return null;
  if (!isIPv6(bare)) return null;
  const address = new ipaddr.IPv6(partsOf(bare));
  return address.isIPv4MappedAddress() ? address.toIPv4Address() : address;
}

/**
 * The eight numbers of a valid address. Not by the library, which takes 70 µs for it, reads octal numbers in a dotted
 * tail, and takes `::1.2.3.4` for an IPv4-mapped address, which it is not: RFC 4291 section 2.5.5.
 */
function partsOf(text: string): number[] {
  const hex = text.replace(DOTTED_TAIL, (_tail, ...octets: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = octets.slice(0, 4).map(Number);
    return `:${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [before = '', after] = hex.split('::');
  const head = before === '' ? [] : before.split(':');
  const tail = after === undefined || after === '' ? [] : after.split(':');
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => '0');
  return [...head, ...zeros, ...tail].map((part) => Number.parseInt(part, 16));
}

/** Only public addresses: of the others nobody knows whose they are behind a translator. */
function embeddedIpv4(address: ipaddr.IPv6): string | null {
  let at: number;
  if (TRANSLATED.some((range) => address.match(range))) at = 6;
  else if (address.match(SIX_TO_FOUR)) at = 1;
  else return null;
  const [high = 0, low = 0] = address.parts.slice(at, at + 2);
  const embedded = new ipaddr.IPv4([high >> 8, high & 0xff, low >> 8, low & 0xff]);
  return embedded.range() === 'unicast' ? embedded.toString() : null;
}

function network64(parts: readonly number[]): string {
  return new ipaddr.IPv6([...parts.slice(0, 4), 0, 0, 0, 0]).toRFC5952String();
}
