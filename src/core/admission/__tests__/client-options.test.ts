import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { ANONYMOUS, type ClientPool } from '../client.ts';
import { clientKey, type IdKind, scopedId } from '../client-key.ts';
import { type ClientOptions, clientOf } from '../client-options.ts';

const KEYS: readonly [options: ClientOptions, key: string][] = [
  [{ userId: 'alice', sessionId: 's', ip: '192.0.2.1' }, 'user:id:alice'],
  [{ sessionId: 's', ip: '192.0.2.1' }, 'session:id:s'],
  [{ ip: '192.0.2.1' }, 'ip:id:192.0.2.1'],
  [{ ip: '::ffff:192.0.2.1' }, 'ip:id:192.0.2.1'],
  [{ ip: '[2001:DB8::1]:443' }, 'ip:id:2001:db8::/64'],
  [{}, 'anonymous:'],
  [{ userId: 'a:b' }, 'user:id:a:b'],
  [{ userId: 'Ärger 🦙' }, 'user:id:Ärger 🦙'],
];

const WRONG: readonly [options: unknown, param: string][] = [
  [{ userId: '' }, 'client.userId'],
  [{ userId: 7 }, 'client.userId'],
  [{ userId: 'a\u0000b' }, 'client.userId'],
  [{ userId: 'a\nb' }, 'client.userId'],
  [{ userId: '\ud800' }, 'client.userId'],
  [{ userId: 'x'.repeat(1025) }, 'client.userId'],
  [{ sessionId: '' }, 'client.sessionId'],
  [{ ip: 'localhost' }, 'client.ip'],
  [{ ip: '192.0.2.01' }, 'client.ip'],
  [{ weight: 0 }, 'client.weight'],
  [{ weight: 101 }, 'client.weight'],
  [{ weight: Number.NaN }, 'client.weight'],
  [{ priority: 'high' }, 'client.priority'],
  [{ limits: { requestsPerMinute: 0 } }, 'client.limits.requestsPerMinute'],
  [{ limits: { requestsPerSecond: 1 } }, 'client.limits.requestsPerSecond'],
  [{ user: 'alice' }, 'client.user'],
  ['alice', 'client'],
  [null, 'client'],
];

describe('the client of a call', () => {
  for (const [options, key] of KEYS) {
    it(`${JSON.stringify(options)} is ${key}`, () => {
      const client = clientOf(options);
      assert.equal(client.key, key);
      assert.equal(client.pool, key.slice(0, key.indexOf(':')));
      assert.deepEqual([client.weight, client.priority, client.limits], [1, 'default', {}]);
    });
  }

  for (const [options, param] of WRONG) {
    it(`refuses ${(JSON.stringify(options) ?? '').slice(0, 60)}`, () => {
      assert.throws(
        () => clientOf(options as ClientOptions),
        (error: Error & { code: string; param: string }) => {
          assert.deepEqual([error.code, error.param], ['invalid_options', param]);
          assert.ok(error.message.includes(param), error.message);
          return true;
        },
      );
    });
  }

  it('has a weight, a class and limits of its own', () => {
    const limits = { requestsPerMinute: 5, tokensPerDay: null };
    const client = clientOf({ userId: 'a', weight: 2.5, priority: 'interactive', limits });
    assert.deepEqual(client, { pool: 'user', key: 'user:id:a', weight: 2.5, priority: 'interactive', limits });
  });

  it('is anonymous where nothing is said', () => assert.equal(clientOf(undefined), ANONYMOUS));

  it('has a key that is its own, and short', () => {
    const pools = fc.constantFrom<ClientPool[]>('user', 'session', 'ip');
    const kind = fc.constantFrom<IdKind[]>('id', 'key');
    const text = fc.oneof(
      fc.string({ maxLength: 12 }),
      fc.constantFrom('', ':', 'key:a', 'id:a', 'sha256:a', '1:a:b'),
      fc.string({ minLength: 180, maxLength: 220 }),
    );
    const identity = fc.tuple(pools, kind, fc.tuple(text, text));
    fc.assert(
      fc.property(identity, identity, (one, other) => {
        const [first, second] = [one, other].map(([pool, of, [scope, id]]) => clientKey(pool, of, scopedId(scope, id)));
        assert.ok((first ?? '').length <= 200);
        assert.equal(first === second, JSON.stringify(one) === JSON.stringify(other));
      }),
    );
    const long = 'x'.repeat(1000);
    assert.match(clientOf({ userId: long }).key, /^user:sha256:[0-9a-f]{64}$/);
    assert.notEqual(clientOf({ userId: long }).key, clientOf({ userId: `${long}x` }).key);
    const hashed = clientOf({ userId: long }).key.slice('user:'.length);
    assert.notEqual(clientOf({ userId: hashed }).key, clientOf({ userId: long }).key, 'a name that looks like a hash');
  });
});
