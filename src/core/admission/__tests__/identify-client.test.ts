import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ApiKeyIdentity, identifyClient, type IdentityHeaders } from '../identify-client.ts';
import { LlameroError } from '../../errors.ts';
import { SessionRoll } from '../session-roll.ts';
import { parseTrustedProxies } from '../trusted-proxies.ts';

const PROXIES = parseTrustedProxies(['10.0.0.0/8', '2001:db8:aa::/48', '127.0.0.1']);

/** A stranger, a trusted proxy, another one. */
const STRANGER = '198.51.100.7';
const PROXY = '10.0.0.1';
const PROXY6 = '2001:db8:aa::1';

const PLAIN: ApiKeyIdentity = { id: 'key_plain' };
const ALICE: ApiKeyIdentity = { id: 'key_alice', userId: 'alice' };
const APP: ApiKeyIdentity = { id: 'key_app', mayActForOthers: true };
const APP_OF_BOB: ApiKeyIdentity = { id: 'key_bob', userId: 'bob', mayActForOthers: true };

function identify(from: string | undefined, apiKey: ApiKeyIdentity | null, headers: IdentityHeaders): string {
  try {
    const client = identifyClient({ remoteAddress: from, headers, apiKey, trustedProxies: PROXIES });
    assert.equal(client.pool, client.key.slice(0, client.key.indexOf(':')));
    return client.key;
  } catch (error) {
    assert.ok(error instanceof LlameroError && error.code === 'invalid_request', String(error));
    return `refused: ${error.param}`;
  }
}

type Case = readonly [
  name: string,
  from: string | undefined,
  apiKey: ApiKeyIdentity | null,
  headers: IdentityHeaders,
  key: string,
];

const HIS_OWN = `ip:id:${STRANGER}`;
const FORWARDED = { 'x-forwarded-for': STRANGER };
const LONG = 'x'.repeat(129);

/** What somebody may try who is neither a trusted proxy nor has a key that may act for others. */
const STRANGERS: readonly Case[] = [
  ['a user id', STRANGER, null, { 'x-user-id': 'alice' }, HIS_OWN],
  ['a session of his own making', STRANGER, null, { 'x-session-id': 'fresh-1' }, HIS_OWN],
  ['another one', STRANGER, null, { 'x-session-id': 'fresh-2' }, HIS_OWN],
  ['a forwarded address', STRANGER, null, { 'x-forwarded-for': '203.0.113.1' }, HIS_OWN],
  ['the address of this machine', STRANGER, null, { 'x-forwarded-for': '127.0.0.1' }, HIS_OWN],
  ['the address of a proxy', STRANGER, null, { 'x-forwarded-for': PROXY }, HIS_OWN],
  ['a whole chain', STRANGER, null, { 'x-forwarded-for': `203.0.113.1, ${PROXY}` }, HIS_OWN],
  ['the newer header', STRANGER, null, { forwarded: 'for=203.0.113.1' }, HIS_OWN],
  ['both', STRANGER, null, { forwarded: 'for=203.0.113.1', 'x-forwarded-for': '203.0.113.2' }, HIS_OWN],
  ['everything', STRANGER, null, { 'x-user-id': 'a', 'x-session-id': 'b', 'x-forwarded-for': '::1' }, HIS_OWN],
  ['what proxies could not say', STRANGER, null, { 'x-user-id': LONG, 'x-session-id': '\u0000' }, HIS_OWN],
  ['a mapped address of his', `::ffff:${STRANGER}`, null, {}, HIS_OWN],
  ['the same in hexadecimal', '::ffff:c633:6407', null, {}, HIS_OWN],
  ['an address that only resembles a proxy', `::${PROXY}`, null, { 'x-user-id': 'alice' }, 'ip:id:::/64'],
  ['a translated address of a proxy', '64:ff9b::10.0.0.1', null, { 'x-user-id': 'a' }, 'ip:id:64:ff9b::/64'],
  ['a tunnelled address of a proxy', '2002:a00:1::1', null, { 'x-user-id': 'a' }, 'ip:id:2002:a00:1::/64'],
  ['another address of his network', '2001:db8:bb::1', null, {}, 'ip:id:2001:db8:bb::/64'],
  ['and one more', '2001:db8:bb::ffff:1', null, { 'x-session-id': 's' }, 'ip:id:2001:db8:bb::/64'],
  ['a network beside that of the proxies', '2001:db8:ab::1', null, { 'x-user-id': 'a' }, 'ip:id:2001:db8:ab::/64'],
  ['a broken socket', undefined, null, { 'x-user-id': 'alice', 'x-forwarded-for': STRANGER }, 'anonymous:'],
  ['a socket without an address', '', null, { 'x-session-id': 's' }, 'anonymous:'],
];

/** What may be tried with a key. */
const KEYS: readonly Case[] = [
  ['a key without a user', STRANGER, PLAIN, {}, 'user:key:key_plain'],
  ['a key of a user', STRANGER, ALICE, {}, 'user:id:alice'],
  ['another user id', STRANGER, ALICE, { 'x-user-id': 'bob' }, 'user:id:alice'],
  ['a user id for a key without one', STRANGER, PLAIN, { 'x-user-id': 'bob' }, 'user:key:key_plain'],
  ['a user id that is the key of another', STRANGER, { id: 'k', userId: 'key_plain' }, {}, 'user:id:key_plain'],
  ['a session', STRANGER, PLAIN, { 'x-session-id': 'fresh' }, 'user:key:key_plain'],
  ['a forwarded address', STRANGER, PLAIN, { 'x-forwarded-for': '203.0.113.1' }, 'user:key:key_plain'],
  ['a user id through a proxy that hands it on', PROXY, PLAIN, { 'x-user-id': 'bob' }, 'user:key:key_plain'],
  ['a session through a proxy', PROXY, ALICE, { 'x-session-id': 'fresh', ...FORWARDED }, 'user:id:alice'],
  ['nonsense, which does not matter', PROXY, ALICE, { 'x-user-id': LONG, forwarded: '"' }, 'user:id:alice'],
  ['an explicit false', STRANGER, { ...ALICE, mayActForOthers: false }, { 'x-user-id': 'bob' }, 'user:id:alice'],
  ['from a broken socket', undefined, PLAIN, {}, 'user:key:key_plain'],
];

/** Keys that may act for others. */
const APPS: readonly Case[] = [
  ['for itself', STRANGER, APP, {}, 'user:key:key_app'],
  ['for itself, being somebody', STRANGER, APP_OF_BOB, {}, 'user:id:bob'],
  ['for a user', STRANGER, APP, { 'x-user-id': 'carol', 'x-session-id': 's' }, 'user:id:carol'],
  ['for another than its own', STRANGER, APP_OF_BOB, { 'x-user-id': 'carol' }, 'user:id:carol'],
  ['for a session', STRANGER, APP, { 'x-session-id': 's' }, 'session:key:7:key_app:s'],
  ['for the same session of another', STRANGER, APP_OF_BOB, { 'x-session-id': 's' }, 'session:key:7:key_bob:s'],
  ['for an address', STRANGER, APP, { 'x-forwarded-for': '203.0.113.1' }, 'ip:id:203.0.113.1'],
  ['for an address, by the newer header', STRANGER, APP, { forwarded: 'for="[2001:db8::1]"' }, 'ip:id:2001:db8::/64'],
  ['for the last of a chain', STRANGER, APP, { 'x-forwarded-for': '6.6.6.6, 203.0.113.1' }, 'ip:id:203.0.113.1'],
  ['through a proxy, for itself', PROXY, APP, FORWARDED, 'user:key:key_app'],
  [
    'for an address, through a proxy',
    PROXY,
    APP,
    { 'x-forwarded-for': `203.0.113.1, ${STRANGER}` },
    'ip:id:203.0.113.1',
  ],
  ['being among the proxies, for itself', PROXY, APP, { 'x-forwarded-for': '10.0.0.9' }, 'user:key:key_app'],
  ['for nobody who could be told', STRANGER, APP, { 'x-forwarded-for': 'unknown' }, 'user:key:key_app'],
  ['for nobody', STRANGER, APP, { 'x-user-id': '', 'x-session-id': '', 'x-forwarded-for': ' ' }, 'user:key:key_app'],
  ['for two at once', STRANGER, APP, { 'x-user-id': 'carol, dave' }, 'refused: x-user-id'],
  ['for a name that is too long', STRANGER, APP, { 'x-user-id': LONG }, 'refused: x-user-id'],
  ['from a broken socket', undefined, APP, FORWARDED, 'user:key:key_app'],
];

/** What comes through trusted proxies without a key. */
const PROXIED: readonly Case[] = [
  ['the proxy itself', PROXY, null, {}, `ip:id:${PROXY}`],
  ['a stranger', PROXY, null, FORWARDED, HIS_OWN],
  ['through IPv6', PROXY6, null, FORWARDED, HIS_OWN],
  ['a mapped proxy', `::ffff:${PROXY}`, null, FORWARDED, HIS_OWN],
  ['with a port', PROXY, null, { 'x-forwarded-for': `${STRANGER}:4711` }, HIS_OWN],
  ['through two proxies', PROXY, null, { 'x-forwarded-for': `${STRANGER}, 10.0.0.2` }, HIS_OWN],
  ['a made-up start', PROXY, null, { 'x-forwarded-for': `203.0.113.1, ${STRANGER}` }, HIS_OWN],
  ['a made-up start that looks like ours', PROXY, null, { 'x-forwarded-for': `10.0.0.3, ${STRANGER}` }, HIS_OWN],
  ['a made-up line before', PROXY, null, { 'x-forwarded-for': ['203.0.113.1', STRANGER] }, HIS_OWN],
  ['nonsense before', PROXY, null, { 'x-forwarded-for': `";\t<>, ${STRANGER}` }, HIS_OWN],
  ['thousands before', PROXY, null, { 'x-forwarded-for': `${'1.1.1.1,'.repeat(2000)}${STRANGER}` }, HIS_OWN],
  ['thousands of ours', PROXY, null, { 'x-forwarded-for': `1.1.1.1${',10.0.0.5'.repeat(1800)}` }, 'ip:id:10.0.0.5'],
  ['only proxies', PROXY, null, { 'x-forwarded-for': '10.0.0.9, 10.0.0.2' }, 'ip:id:10.0.0.9'],
  ['somebody unknown', PROXY, null, { 'x-forwarded-for': 'unknown' }, `ip:id:${PROXY}`],
  ['nonsense after him', PROXY, null, { 'x-forwarded-for': `${STRANGER}, nonsense` }, `ip:id:${PROXY}`],
  ['nonsense behind a second proxy', PROXY, null, { 'x-forwarded-for': `${STRANGER}, ?, 10.0.0.2` }, 'ip:id:10.0.0.2'],
  ['nothing after him', PROXY, null, { 'x-forwarded-for': `${STRANGER}, ` }, `ip:id:${PROXY}`],
  ['an octal address', PROXY, null, { 'x-forwarded-for': '0306.063.0144.07' }, `ip:id:${PROXY}`],
  ['an address as one number', PROXY, null, { 'x-forwarded-for': '3325256711' }, `ip:id:${PROXY}`],
  ['an empty header', PROXY, null, { 'x-forwarded-for': '' }, `ip:id:${PROXY}`],
  ['an IPv6 stranger', PROXY, null, { 'x-forwarded-for': '[2001:db8:bb::5]:99' }, 'ip:id:2001:db8:bb::/64'],
  ['the newer header', PROXY, null, { forwarded: `for=${STRANGER};proto=https;by=${PROXY}` }, HIS_OWN],
  ['in capitals, quoted', PROXY, null, { forwarded: `proto=http; For="${STRANGER}:80"` }, HIS_OWN],
  ['a made-up element before', PROXY, null, { forwarded: `for=203.0.113.1, for=${STRANGER}` }, HIS_OWN],
  ['a quotation mark left open', PROXY, null, { forwarded: `for="203.0.113.1, for=${STRANGER}` }, HIS_OWN],
  ['a comma in the host', PROXY, null, { forwarded: `for=${STRANGER};host="a,for=203.0.113.1"` }, `ip:id:${PROXY}`],
  ['an escape', PROXY, null, { forwarded: 'for="203.0.113.1\\""' }, `ip:id:${PROXY}`],
  ['two in one element', PROXY, null, { forwarded: 'for=203.0.113.1;for=203.0.113.2' }, `ip:id:${PROXY}`],
  ['an element without him', PROXY, null, { forwarded: 'proto=https' }, `ip:id:${PROXY}`],
  ['a made-up name', PROXY, null, { forwarded: 'for=_gazonk' }, `ip:id:${PROXY}`],
  ['both headers, agreeing', PROXY, null, { ...FORWARDED, forwarded: `for="${STRANGER}"` }, HIS_OWN],
  ['both headers, not agreeing', PROXY, null, { ...FORWARDED, forwarded: 'for=203.0.113.1' }, 'refused: forwarded'],
  ['both headers, one of them nonsense', PROXY, null, { ...FORWARDED, forwarded: '"' }, 'refused: forwarded'],
  ['a user', PROXY, null, { 'x-user-id': 'alice', 'x-session-id': 's', ...FORWARDED }, 'user:id:alice'],
  ['a session', PROXY, null, { 'x-session-id': 's', ...FORWARDED }, 'session:id:s'],
  ['a user who is not logged in', PROXY, null, { 'x-user-id': '', ...FORWARDED }, HIS_OWN],
  ['a user id twice', PROXY, null, { 'x-user-id': 'evil, alice' }, 'refused: x-user-id'],
  ['a user id twice, as a list', PROXY, null, { 'x-user-id': ['evil', 'alice'] }, 'refused: x-user-id'],
  ['a user id that is too long', PROXY, null, { 'x-user-id': LONG }, 'refused: x-user-id'],
  ['a session id that is too long', PROXY, null, { 'x-session-id': LONG }, 'refused: x-session-id'],
  ['a control character', PROXY, null, { 'x-user-id': 'a\u0007' }, 'refused: x-user-id'],
  ['a tab', PROXY, null, { 'x-user-id': 'a\tb' }, 'refused: x-user-id'],
  ['a name in UTF-8', PROXY, null, { 'x-user-id': Buffer.from('Ärà').toString('latin1') }, 'user:id:Ärà'],
  ['a name in Latin-1', PROXY, null, { 'x-user-id': 'Är' }, 'user:id:Är'],
  ['a user like a key', PROXY, null, { 'x-user-id': 'key:key_plain' }, 'user:id:key:key_plain'],
  ['a session like that of an application', PROXY, null, { 'x-session-id': '7:key_app:s' }, 'session:id:7:key_app:s'],
  ['a user like this machine', '127.0.0.1', null, { 'x-user-id': 'ip:id:127.0.0.1' }, 'user:id:ip:id:127.0.0.1'],
  ['a class that there is not', PROXY, null, { 'x-priority': 'urgent' }, 'refused: x-priority'],
];

for (const [title, cases] of Object.entries({ STRANGERS, KEYS, APPS, PROXIED })) {
  describe(`identity: ${title.toLowerCase()}`, () => {
    for (const [name, from, apiKey, headers, key] of cases) {
      it(`${name}: ${key}`, () => assert.equal(identify(from, apiKey, headers), key));
    }
  });
}

const limits = { requestsPerMinute: 5 };
const generous: ApiKeyIdentity = { ...APP, weight: 4, priority: 'interactive', limits };
const facts = { remoteAddress: STRANGER, trustedProxies: PROXIES };
const classOf = (apiKey: ApiKeyIdentity | null, asked: string) =>
  identifyClient({ ...facts, apiKey, headers: { 'x-priority': asked } }).priority;

describe('what a client is granted', () => {
  it('is that of the key, for those as well whom it names', () => {
    for (const headers of [{}, { 'x-user-id': 'carol' }]) {
      const client = identifyClient({ ...facts, apiKey: generous, headers });
      assert.deepEqual([client.weight, client.priority, client.limits], [4, 'interactive', limits]);
    }
    const plain = identifyClient({ ...facts, apiKey: null, headers: {} });
    assert.deepEqual([plain.weight, plain.priority, plain.limits], [1, 'default', {}]);
  });

  it('has a class that the caller can lower but not raise', () => {
    assert.equal(classOf(generous, 'batch'), 'batch');
    assert.equal(classOf(generous, 'interactive'), 'interactive');
    assert.equal(classOf(PLAIN, 'interactive'), 'default');
    assert.equal(classOf(null, 'interactive'), 'default');
    assert.equal(classOf(null, 'batch'), 'batch');
    assert.equal(classOf({ id: 'k', priority: 'batch' }, 'default'), 'batch');
    for (const bad of ['', 'Batch', 'batch, batch', '1']) {
      assert.throws(() => classOf(generous, bad), { code: 'invalid_request', param: 'x-priority' });
    }
  });

  it('has a key of at most 200 characters, whatever its holder is called', () => {
    const userId = 'é'.repeat(1000);
    const { key } = identifyClient({ ...facts, apiKey: { id: 'k', userId }, headers: {} });
    assert.match(key, /^user:sha256:[0-9a-f]{64}$/);
  });
});

describe('a session that somebody without a key names himself', () => {
  it('is one of his address', () => {
    const sessions = roll();
    assert.equal(keyWith(sessions, STRANGER, { 'x-session-id': 's' }), `session:ip:12:${STRANGER}:s`);
    assert.equal(keyWith(sessions, `::ffff:${STRANGER}`, { 'x-session-id': 's' }), `session:ip:12:${STRANGER}:s`);
    assert.equal(keyWith(sessions, '203.0.113.1', { 'x-session-id': 's' }), 'session:ip:11:203.0.113.1:s');
  });

  it('does not come with more than a few others', () => {
    const sessions = roll();
    for (const id of ['a', 'b']) keyWith(sessions, STRANGER, { 'x-session-id': id });
    assert.equal(keyWith(sessions, STRANGER, { 'x-session-id': 'c' }), HIS_OWN);
    assert.equal(keyWith(sessions, STRANGER, { 'x-session-id': 'a' }), `session:ip:12:${STRANGER}:a`);
  });

  for (const odd of ['', 'a, b', LONG, '\u0000']) {
    it(`changes nothing when it is ${JSON.stringify(odd.slice(0, 5))}`, () => {
      assert.equal(keyWith(roll(), STRANGER, { 'x-session-id': odd }), HIS_OWN);
    });
  }

  it('brings no user and no forwarded address with it', () => {
    const headers = { 'x-user-id': 'alice', 'x-session-id': 's', 'x-forwarded-for': '203.0.113.9' };
    assert.equal(keyWith(roll(), STRANGER, headers), `session:ip:12:${STRANGER}:s`);
  });
});

describe('the roll of sessions', () => {
  it('lets new ones in when old ones have not been seen for long', () => {
    let now = 0;
    const sessions = new SessionRoll({ sessionsPerAddress: 1, maxAgeMs: 100, now: () => now });
    assert.ok(sessions.admit('a', 'one'));
    now = 100;
    assert.ok(!sessions.admit('a', 'two'));
    now = 101;
    assert.ok(sessions.admit('a', 'two'));
  });

  it('remembers a bounded number of addresses, the latest', () => {
    const sessions = new SessionRoll({ sessionsPerAddress: 1, maxAddresses: 2, maxAgeMs: 100 });
    for (const address of ['a', 'b', 'a', 'c']) sessions.admit(address, 'one');
    assert.ok(!sessions.admit('a', 'two'), 'a was seen after b');
    assert.ok(sessions.admit('b', 'two'), 'b had been forgotten');
  });
});

function roll(): SessionRoll {
  return new SessionRoll({ sessionsPerAddress: 2, maxAgeMs: 1000 });
}

function keyWith(sessions: SessionRoll, from: string, headers: IdentityHeaders): string {
  return identifyClient({ remoteAddress: from, headers, apiKey: null, trustedProxies: PROXIES, sessions }).key;
}
