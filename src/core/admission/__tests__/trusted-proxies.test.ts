import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseAddress } from '../client-address.ts';
import { NO_TRUSTED_PROXIES, parseTrustedProxies } from '../trusted-proxies.ts';

const CASES: readonly [range: string, inside: readonly string[], outside: readonly string[]][] = [
  ['10.1.2.3', ['10.1.2.3', '::ffff:10.1.2.3'], ['10.1.2.4', '::10.1.2.3', '64:ff9b::10.1.2.3', '2002:a01:203::1']],
  ['10.0.0.0/8', ['10.0.0.0', '10.255.255.255'], ['11.0.0.0', '9.255.255.255', '::1']],
  ['10.1.2.3/8', ['10.0.0.0'], ['11.0.0.0']],
  ['192.0.2.128/25', ['192.0.2.128'], ['192.0.2.127']],
  ['0.0.0.0/0', ['1.2.3.4', '::ffff:1.2.3.4'], ['2001:db8::1']],
  ['::1', ['::1'], ['127.0.0.1', '::2']],
  ['FD00::/8', ['fd12::1', 'fdff::'], ['fe00::', 'fc00::1']],
  ['2001:db8:1::/48', ['2001:db8:1:ffff::1'], ['2001:db8:2::1']],
  ['::ffff:10.0.0.0/104', ['10.9.9.9'], ['11.0.0.0']],
  ['::/0', ['2001:db8::1', '::1'], ['1.2.3.4']],
  ['fe80::/10', ['fe80::1%eth0'], ['fec0::1']],
];

const WRONG = [
  '',
  ' ',
  'nginx',
  'loopback',
  '10.0.0.0/33',
  '10.0.0.0/-1',
  '10.0.0.0/08',
  '10.0.0.0/',
  '10.0.0.0/8/8',
  '10.0.0.0/255.0.0.0',
  '10.0.0',
  '010.0.0.0/8',
  '10.0.0.1:80',
  '[::1]',
  '::1/129',
  '::ffff:10.0.0.0/64',
  'fe80::1%eth0',
  '10.0.0.1, 10.0.0.2',
];

describe('trusted proxies', () => {
  for (const [range, inside, outside] of CASES) {
    it(`knows what is in ${range}`, () => {
      const proxies = parseTrustedProxies(['203.0.113.200', range]);
      const has = (text: string) => {
        const address = parseAddress(text);
        assert.ok(address !== null, text);
        return proxies.has(address);
      };
      for (const text of inside) assert.ok(has(text), text);
      for (const text of outside) assert.ok(!has(text), text);
      assert.ok(has('203.0.113.200'));
    });
  }

  for (const text of WRONG) {
    it(`refuses ${JSON.stringify(text)} by its place`, () => {
      assert.throws(() => parseTrustedProxies(['10.0.0.1', text]), {
        code: 'invalid_options',
        param: 'gateway.trustedProxies[1]',
        message: /expected an IP address or a CIDR range/,
      });
    });
  }

  it('are none by default', () => assert.equal(parseTrustedProxies([]), NO_TRUSTED_PROXIES));
});
