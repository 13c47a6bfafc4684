import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { clientAddressId, isLoopbackAddress, parseAddress } from '../client-address.ts';

/** Each text, and the one client that it means; null: no address. */
const ADDRESSES: readonly [text: string, id: string | null][] = [
  ['192.0.2.1', '192.0.2.1'],
  [' 192.0.2.1 ', '192.0.2.1'],
  ['\t192.0.2.1', '192.0.2.1'],
  ['192.0.2.1:4711', '192.0.2.1'],
  ['192.0.2.1:_hidden', '192.0.2.1'],
  ['[192.0.2.1]', null],
  ['192.0.2.1:', null],
  ['192.0.2.1:123456', null],
  ['192.0.2.1%eth0', null],
  ['192.0.2.1 192.0.2.2', null],
  ['192.0.2.01', null],
  ['192.0.2.0x1', null],
  ['0300.0.2.1', null],
  ['3221225985', null],
  ['0xc0000201', null],
  ['192.0.513', null],
  ['192.513', null],
  ['192.0.2.256', null],
  ['192.0.2', null],
  ['192.0.2.1.', null],
  ['192.0.2.1.5', null],
  ['-1.0.2.1', null],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['::FFFF:192.0.2.1', '192.0.2.1'],
  ['::ffff:c000:201', '192.0.2.1'],
  ['0:0:0:0:0:ffff:c000:0201', '192.0.2.1'],
  ['[::ffff:192.0.2.1]:80', '192.0.2.1'],
  ['::ffff:192.0.2.01', null],
  ['::ffff:192.0.2', null],
  ['2001:db8:1:2::3', '2001:db8:1:2::/64'],
  ['2001:db8:1:2:ffff:ffff:ffff:ffff', '2001:db8:1:2::/64'],
  ['2001:0DB8:0001:0002:0:0:0:3', '2001:db8:1:2::/64'],
  ['[2001:db8:1:2::3]', '2001:db8:1:2::/64'],
  ['[2001:db8:1:2::3]:443', '2001:db8:1:2::/64'],
  ['[2001:db8:1:2::3]:_p', '2001:db8:1:2::/64'],
  ['2001:db8:1:3::3', '2001:db8:1:3::/64'],
  ['2001:db8::', '2001:db8::/64'],
  ['[2001:db8::1', null],
  ['2001:db8::1]', null],
  ['[2001:db8::1]x', null],
  ['2001:db8:::1', null],
  ['1:2:3:4:5:6:7:8:9', null],
  ['1:2:3:4:5:6:7', null],
  ['12345::', null],
  ['g::', null],
  ['fe80::1', 'fe80::/64'],
  ['fe80::1%eth0', 'fe80::/64'],
  ['fe80::2%25wlan-1.5', 'fe80::/64'],
  ['[fe80::1%eth0]:8080', 'fe80::/64'],
  ['fe80::1%', null],
  ['fe80::1%a b', null],
  ['fe80::1%\u0000', null],
  ['127.0.0.1', '127.0.0.1'],
  ['127.9.9.9', '127.0.0.1'],
  ['::1', '127.0.0.1'],
  ['0:0:0:0:0:0:0:1', '127.0.0.1'],
  ['::ffff:7f00:1', '127.0.0.1'],
  ['::ffff:127.0.0.5', '127.0.0.1'],
  ['::127.0.0.1', '::/64'],
  ['::7f00:1', '::/64'],
  ['::8.8.8.8', '::/64'],
  ['64:ff9b::8.8.8.8', '8.8.8.8'],
  ['64:ff9b::808:808', '8.8.8.8'],
  ['64:ff9b::10.0.0.1', '64:ff9b::/64'],
  ['64:ff9b::127.0.0.1', '64:ff9b::/64'],
  ['64:ff9b:0:0:1::808:808', '64:ff9b::/64'],
  ['64:ff9b:1::808:808', '64:ff9b:1::/64'],
  ['::ffff:0:8.8.8.8', '8.8.8.8'],
  ['2002:808:808::1', '8.8.8.8'],
  ['2002:808:808:77::1', '8.8.8.8'],
  ['2002:7f00:1::1', '2002:7f00:1::/64'],
  ['2002:a00:1::1', '2002:a00:1::/64'],
  ['', null],
  [' ', null],
  ['unknown', null],
  ['_hidden', null],
  ['localhost', null],
  ['example.com', null],
  ['192.0.2.1, 192.0.2.2', null],
  ['192.0.2.1\n', null],
  ['192.0.2.1\u00a0', null],
  ['١٩٢.0.2.1', null],
  ['１92.0.2.1', null],
  [`${' '.repeat(200)}192.0.2.1`, null],
  ['1'.repeat(100_000), null],
];

describe('the address of a client', () => {
  for (const [text, id] of ADDRESSES) {
    const shown = text.length > 50 ? `${text.slice(0, 10)}… (${text.length})` : JSON.stringify(text);
    it(`${shown} is ${id ?? 'none'}`, () => assert.equal(clientAddressId(text), id));
  }

  it('is loopback only where no other machine can have it', () => {
    for (const text of ['127.0.0.1', '127.255.255.254', '::1', '::ffff:127.0.0.1']) assert.ok(isLoopback(text), text);
    const others = [
      '::127.0.0.1',
      '64:ff9b::7f00:1',
      '2002:7f00:1::',
      '::ffff:0:127.0.0.1',
      '0.0.0.0',
      '::',
      '128.0.0.1',
    ];
    for (const text of others) assert.ok(!isLoopback(text), text);
  });

  it('is the same for every spelling, and for every address of one IPv6 network', () => {
    const byte = fc.integer({ min: 0, max: 255 });
    const part = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
    fc.assert(
      fc.property(fc.tuple(byte, byte, byte, byte), fc.nat(65_535), (octets, port) => {
        const dotted = octets.join('.');
        const [a, b, c, d] = octets;
        const hex = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
        const spellings = [dotted, ` ${dotted}\t`, `${dotted}:${port}`, `::ffff:${dotted}`, `::FFFF:${hex}`];
        spellings.push(`[::ffff:${hex}]:${port}`, `0:0:0:0:0:ffff:${hex}%eth0`);
        assert.equal(new Set(spellings.map(clientAddressId)).size, 1);
        assert.notEqual(clientAddressId(dotted), null);
      }),
    );
    fc.assert(
      fc.property(fc.array(part, { minLength: 8, maxLength: 8 }), fc.nat(65_535), (parts, port) => {
        const full = parts.map((value) => value.toString(16)).join(':');
        const padded = parts.map((value) => value.toString(16).padStart(4, '0')).join(':');
        const spellings = [full, full.toUpperCase(), padded, `[${padded}]`, `[${full}]:${port}`, ` ${full}%en0 `];
        spellings.push(compressed(parts));
        const address = parseAddress(compressed(parts));
        if (address instanceof ipaddr.IPv6) assert.deepEqual(address.parts, parts);
        const ids = new Set(spellings.map(clientAddressId));
        assert.equal(ids.size, 1, spellings.join(' '));
        assert.ok(!ids.has(null));
      }),
    );
    fc.assert(
      fc.property(fc.tuple(part, part, part), fc.tuple(part, part), fc.tuple(part, part), (network, one, other) => {
        const inNetwork = (rest: readonly number[]) =>
          [
            '2600',
            ...network.map((value) => value.toString(16)),
            '0',
            '1',
            ...rest.map((value) => value.toString(16)),
          ].join(':');
        assert.equal(clientAddressId(inNetwork(one)), clientAddressId(inNetwork(other)));
        assert.match(clientAddressId(inNetwork(one)) ?? '', /\/64$/);
      }),
    );
  });
});

/** With its first zeros as `::`. */
function compressed(parts: readonly number[]): string {
  const hex = parts.map((value) => value.toString(16));
  const start = parts.indexOf(0);
  if (start === -1) return hex.join(':');
  const rest = parts.findIndex((value, index) => index > start && value !== 0);
  return `${hex.slice(0, start).join(':')}::${rest === -1 ? '' : hex.slice(rest).join(':')}`;
}

function isLoopback(text: string): boolean {
  const address = parseAddress(text);
  return address !== null && isLoopbackAddress(address);
}
