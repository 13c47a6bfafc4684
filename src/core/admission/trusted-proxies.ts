import ipaddr from 'ipaddr.js';
import { LlameroError } from '../errors.ts';
import { type IpAddress, parseAddress } from './client-address.ts';

/** The proxies whose word is taken: a compiled `gateway.trustedProxies`. */
export interface TrustedProxies {
  has(address: IpAddress): boolean;
}

type Range = readonly [address: IpAddress, bits: number];

/** Nobody's word is taken. */
export const NO_TRUSTED_PROXIES: TrustedProxies = { has: () => false };

/**
 * @param list Addresses, or CIDR ranges such as `10.0.0.0/8` and `fd00::/8`.
 * @throws LlameroError `invalid_options` that names the first entry that is neither.
 */
export function parseTrustedProxies(list: readonly string[]): TrustedProxies {
  if (list.length === 0) return NO_TRUSTED_PROXIES;
  const ranges = list.map((text, index) => {
    const range = parseRange(text);
    if (range !== null) return range;
    const param = `gateway.trustedProxies[${index}]`;
    throw new LlameroError(
      'invalid_options',
      `${param}: expected an IP address or a CIDR range such as 10.0.0.0/8, came ${JSON.stringify(text.slice(0, 80))}`,
      { param },
    );
  });
  return { has: (address) => ranges.some((range) => isWithin(address, range)) };
}

function parseRange(text: string): Range | null {
  const slash = text.indexOf('/');
  const base = slash === -1 ? text : text.slice(0, slash);
  // A port or a bracket means that something else was meant.
  if (/[[\]%\s]/.test(base) || /\.\d+:/.test(base)) return null;
  const address = parseAddress(base);
  if (address === null) return null;
  const width = base.includes(':') ? 128 : 32;
  const bits = slash === -1 ? width : readBits(text.slice(slash + 1), width);
  if (bits === null) return null;
  if (width === 32 || address.kind() === 'ipv6') return [address, bits];
  // Written as an IPv4-mapped range.
  return bits >= 96 ? [address, bits - 96] : null;
}

function readBits(text: string, width: number): number | null {
  const bits = /^(0|[1-9]\d{0,2})$/.test(text) ? Number(text) : Number.NaN;
  return bits <= width ? bits : null;
}

function isWithin(address: IpAddress, [base, bits]: Range): boolean {
  if (address instanceof ipaddr.IPv4) return base instanceof ipaddr.IPv4 && address.match(base, bits);
  return base instanceof ipaddr.IPv6 && address.match(base, bits);
}
