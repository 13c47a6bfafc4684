import assert from 'node:assert/strict';
import type { IncomingHttpHeaders } from 'node:http';
import { describe, it } from 'node:test';
import { SessionRoll } from '../../core/admission/session-roll.ts';
import { NO_TRUSTED_PROXIES, parseTrustedProxies } from '../../core/admission/trusted-proxies.ts';
import { LlameroError } from '../../core/errors.ts';
import { type AccessRules, decideAccess, hostNameOf, isLoopback, refuseAdmin } from '../access.ts';
import { requestIdOf, timeoutOf, traceHeaders } from '../request-headers.ts';

const OPEN: AccessRules = {
  keys: null,
  corsOrigins: ['http://app.example'],
  hostNames: new Set(['mybox']),
  trustedProxies: NO_TRUSTED_PROXIES,
  sessions: new SessionRoll({ maxAgeMs: 1000 }),
};
/** The proxies at ::1 and in 10.0.0.0/8 are trusted, what comes from 127.0.0.1 is not. */
const PROXIED: AccessRules = { ...OPEN, trustedProxies: parseTrustedProxies(['::1', '10.0.0.0/8']) };
const entry = { id: 'key_1', name: 'test', hash: '', created: '' };
const KEYED: AccessRules = { ...OPEN, keys: { verify: (key) => (key === 'right' ? entry : null) } };
const LOCAL = '127.0.0.1';

const CASES: [
  name: string,
  rules: AccessRules,
  headers: IncomingHttpHeaders,
  from: string | undefined,
  code: string | null,
][] = [
  ['a local client', OPEN, { host: 'localhost:8080' }, LOCAL, null],
  ['a local client over IPv6', OPEN, { host: '[::1]:8080' }, '::1', null],
  ['a mapped address', OPEN, { host: '127.0.0.1' }, '::ffff:127.0.0.1', null],
  ['another loopback address', OPEN, { host: '127.1.2.3' }, '127.1.2.3', null],
  ['a broken socket', OPEN, { host: 'localhost' }, undefined, 'invalid_api_key'],
  ['no host (HTTP/1.0)', OPEN, {}, LOCAL, null],
  ['a remote client', OPEN, { host: 'localhost' }, '192.168.1.5', 'invalid_api_key'],
  ['a remote client over IPv6', OPEN, { host: 'localhost' }, 'fe80::1%eth0', 'invalid_api_key'],
  ['a mapped remote client', OPEN, { host: 'localhost' }, '::ffff:10.0.0.1', 'invalid_api_key'],
  ['behind a local proxy', OPEN, { host: 'localhost', 'x-forwarded-for': '203.0.113.9' }, LOCAL, 'invalid_api_key'],
  ['behind two', OPEN, { host: 'localhost', 'x-forwarded-for': '127.0.0.1, 203.0.113.9' }, LOCAL, 'invalid_api_key'],
  ['behind a local proxy, local', OPEN, { host: 'localhost', 'x-forwarded-for': '127.0.0.1, ::1' }, LOCAL, null],
  [
    'behind a proxy of the newer kind',
    OPEN,
    { host: 'localhost', forwarded: 'for=127.0.0.1' },
    LOCAL,
    'invalid_api_key',
  ],
  ['a mere likeness of loopback', OPEN, { host: 'localhost' }, '::127.0.0.1', 'invalid_api_key'],
  ['forwarded from a likeness', OPEN, { 'x-forwarded-for': '::127.0.0.1' }, LOCAL, 'invalid_api_key'],
  ['a trusted proxy, local', PROXIED, { 'x-forwarded-for': '127.0.0.1' }, '::1', null],
  ['the same by the newer header', PROXIED, { forwarded: 'for="127.0.0.1:99"' }, '::1', null],
  ['a trusted proxy, elsewhere', PROXIED, { 'x-forwarded-for': '203.0.113.9' }, '::1', 'invalid_api_key'],
  ['a made-up start of the chain', PROXIED, { 'x-forwarded-for': '127.0.0.1, 203.0.113.9' }, '::1', 'invalid_api_key'],
  ['a start that does not matter', PROXIED, { 'x-forwarded-for': '203.0.113.9, 127.0.0.1' }, '::1', null],
  ['a trusted proxy that does not know', PROXIED, { 'x-forwarded-for': 'unknown' }, '::1', 'invalid_api_key'],
  [
    'one header here, one not',
    PROXIED,
    { 'x-forwarded-for': '127.0.0.1', forwarded: 'for=1.2.3.4' },
    '::1',
    'invalid_api_key',
  ],
  ['an untrusted proxy beside', PROXIED, { 'x-forwarded-for': '203.0.113.9, 127.0.0.1' }, LOCAL, 'invalid_api_key'],
  ['a trusted proxy of another machine', PROXIED, { 'x-forwarded-for': '127.0.0.1' }, '10.0.0.1', 'invalid_api_key'],
  ['the same behind one here', PROXIED, { 'x-forwarded-for': '127.0.0.1, 10.0.0.1' }, '::1', 'invalid_api_key'],
  ['a trusted proxy of another machine itself', PROXIED, {}, '10.0.0.1', 'invalid_api_key'],
  ['a trusted proxy here itself', PROXIED, {}, '::1', null],
  ['a rebound name', OPEN, { host: 'evil.example:8080' }, LOCAL, 'permission_denied'],
  ['a name that only begins like ours', OPEN, { host: 'localhost.evil.example' }, LOCAL, 'permission_denied'],
  ['our own name', OPEN, { host: 'MyBox:8080' }, LOCAL, null],
  ['a container', OPEN, { host: 'host.docker.internal:8080' }, LOCAL, null],
  ['a name under localhost', OPEN, { host: 'api.localhost' }, LOCAL, null],
  ['a foreign page', OPEN, { host: 'localhost', origin: 'http://evil.example' }, LOCAL, 'permission_denied'],
  ['a sandboxed page', OPEN, { host: 'localhost', origin: 'null' }, LOCAL, 'permission_denied'],
  [
    'a page on another local port',
    OPEN,
    { host: 'localhost:8080', origin: 'http://localhost:3000' },
    LOCAL,
    'permission_denied',
  ],
  ['our own page', OPEN, { host: 'localhost:8080', origin: 'http://localhost:8080' }, LOCAL, null],
  ['a permitted page', OPEN, { host: 'localhost', origin: 'http://app.example' }, LOCAL, null],
  [
    'an image on a foreign page',
    OPEN,
    { host: 'localhost', 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' },
    LOCAL,
    'permission_denied',
  ],
  [
    'a link on a foreign page',
    OPEN,
    { host: 'localhost', 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' },
    LOCAL,
    null,
  ],
  ['a typed address', OPEN, { host: 'localhost', 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate' }, LOCAL, null],
  ['a bearer key', KEYED, { authorization: 'Bearer right' }, '203.0.113.9', null],
  ['the scheme in small letters', KEYED, { authorization: 'bearer right' }, '203.0.113.9', null],
  ['an x-api-key', KEYED, { 'x-api-key': 'right' }, '203.0.113.9', null],
  ['a wrong key', KEYED, { authorization: 'Bearer wrong' }, LOCAL, 'invalid_api_key'],
  [
    'two keys, the first counts',
    KEYED,
    { authorization: 'Bearer wrong', 'x-api-key': 'right' },
    LOCAL,
    'invalid_api_key',
  ],
  ['another scheme', KEYED, { authorization: 'Basic right' }, LOCAL, 'invalid_api_key'],
  ['an empty key', KEYED, { 'x-api-key': '' }, LOCAL, 'invalid_api_key'],
  ['no key, local', KEYED, { host: 'localhost' }, LOCAL, 'invalid_api_key'],
  ['a key, by any name', KEYED, { authorization: 'Bearer right', host: 'llm.example' }, '203.0.113.9', null],
];

describe('access', () => {
  for (const [name, rules, headers, from, code] of CASES) {
    it(`${name}: ${code ?? 'served'}`, () => {
      const access = decideAccess(rules, headers, from);
      assert.equal(access instanceof LlameroError ? access.code : null, code);
    });
  }

  it('gives out the entry of the key, and null where there are none', () => {
    assert.equal(decideAccess(KEYED, { authorization: 'Bearer right' }, '203.0.113.9'), entry);
    assert.equal(decideAccess(OPEN, {}, LOCAL), null);
  });

  it('lets administer who has a key that may, and whoever is let in where there are no keys', () => {
    assert.equal(refuseAdmin(null), null);
    assert.equal(refuseAdmin({ ...entry, mayAdminister: true }), null);
    assert.equal(refuseAdmin(entry)?.code, 'permission_denied');
  });

  it('reads host names and loopback addresses', () => {
    for (const [host, name] of [
      ['LocalHost:1', 'localhost'],
      ['[::1]:80', '::1'],
      ['a.b.', 'a.b'],
      ['1.2.3.4', '1.2.3.4'],
    ]) {
      assert.equal(hostNameOf(host as string), name);
    }
    for (const address of ['127.0.0.1', '127.255.0.1', '::1', '::ffff:127.0.0.1']) assert.ok(isLoopback(address));
    for (const address of ['0.0.0.0', '10.0.0.1', '::', '::ffff:10.0.0.1', 'localhost', '', undefined])
      assert.ok(!isLoopback(address));
  });
});

describe('request headers', () => {
  it('takes sane ids and makes others', () => {
    for (const id of ['a', 'req-1/2:3', '~'.repeat(128)]) assert.equal(requestIdOf(id), id);
    for (const id of [undefined, '', 'a b', 'a\tb', 'é', 'a'.repeat(129), ['a', 'b']]) {
      assert.match(requestIdOf(id), /^req_[\w-]{12}_[0-9a-z]+$/);
    }
  });

  it('passes on well-formed traces only', () => {
    const good = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    assert.deepEqual(traceHeaders(good), { traceparent: good });
    for (const bad of [
      undefined,
      '',
      good.toUpperCase(),
      `ff${good.slice(2)}`,
      `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
      `00-4bf92f3577b34da6a3ce929d0e0e4736-${'0'.repeat(16)}-01`,
      `${good}\r\nx: y`,
    ]) {
      assert.equal(traceHeaders(bad), undefined);
    }
  });

  it('only shortens the time limit', () => {
    assert.equal(timeoutOf(undefined, null), null);
    assert.equal(timeoutOf(undefined, 5), 5);
    assert.equal(timeoutOf('100', null), 100);
    assert.equal(timeoutOf('100', 50), 50);
    assert.equal(timeoutOf('100', 500), 100);
    assert.equal(timeoutOf('99999999999999', null), 2_147_483_647, 'no more than a timer can hold');
    for (const bad of ['0', '-1', '1.5', '1e3', ' 1', 'x', '', '1, 2']) {
      assert.throws(() => timeoutOf(bad, null), { code: 'invalid_request', param: 'x-request-timeout' });
    }
  });
});
