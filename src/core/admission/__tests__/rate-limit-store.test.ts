import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { RateGrant } from '../rate-limits.ts';
import { clientAt, rateLimits, windowsOf, type Fixture } from './rate-limit-fixture.ts';
import { ValkeyDouble } from './valkey-double.ts';

const DEADLINE = { timeout: 30_000 };
const TIMES = { commandMs: 500, connectMs: 1000, reconnectMs: 50, leaseTtlMs: 900 };
/** Less than any deadline: nobody waited for one. */
const QUICK_MS = 400;
const HOLDER = fileURLToPath(new URL('lease-holder.ts', import.meta.url));

async function withStore(test: (store: ValkeyDouble) => Promise<void>): Promise<void> {
  const store = await new ValkeyDouble().start();
  try {
    await test(store);
  } finally {
    await store.die();
  }
}

function gateway(store: string, limits: Parameters<typeof rateLimits>[0], windows = windowsOf({})): Fixture {
  return rateLimits({ store, ...limits }, { windows, storeTimes: TIMES });
}

function remaining(grant: RateGrant): number[] {
  return grant.state.windows.map((window) => window.remaining);
}

async function changed(fixture: Fixture, ok: boolean): Promise<void> {
  while (fixture.storeChanges.at(-1)?.ok !== ok) await once(fixture.events, 'rate-limit-store');
}

async function durationOf(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

describe('rate limits in a store', () => {
  it('are shared by several gateways', DEADLINE, () =>
    withStore(async (store) => {
      await using first = gateway(store.url, { requestsPerMinute: 3, tokensPerDay: 1000 });
      await using second = gateway(store.url, { requestsPerMinute: 3, tokensPerDay: 1000 });
      assert.deepEqual(remaining(await first.admit({ promptTokens: 10, maxTokens: 90 })), [2, 900]);
      assert.deepEqual(remaining(await second.admit({ promptTokens: 10, maxTokens: 90 })), [1, 800]);
      await first.admit();
      const error = await second.refused();
      assert.equal(error.code, 'rate_limit_exceeded');
      assert.ok((error.retryAfterMs ?? 0) > 59_000);
    }),
  );

  it('never let more through than the limit of requests that race at two gateways', DEADLINE, () =>
    withStore(async (store) => {
      await using first = gateway(store.url, { requestsPerMinute: 10 });
      await using second = gateway(store.url, { requestsPerMinute: 10 });
      const racing = Array.from({ length: 30 }, (_, index) => (index % 2 === 0 ? first : second).admit());
      const results = await Promise.allSettled(racing);
      assert.equal(results.filter((result) => result.status === 'fulfilled').length, 10);
    }),
  );

  it('are corrected from what was used, and cost nothing when refused or refunded', DEADLINE, () =>
    withStore(async (store) => {
      await using fixture = gateway(store.url, { requestsPerMinute: 2, tokensPerMinute: 100 });
      (await fixture.admit({ promptTokens: 10, maxTokens: 80 })).settle(30);
      (await fixture.admit({ promptTokens: 10, maxTokens: 60 })).refund();
      assert.deepEqual(remaining(await fixture.admit({ promptTokens: 10, maxTokens: 10 })), [0, 50]);
      await fixture.refused();
      const error = await fixture.refused();
      const { windows } = error.details['limits'] as RateGrant['state'];
      assert.deepEqual(
        windows.map((window) => window.remaining),
        [0, 50],
      );
    }),
  );

  it('admit who waits exactly as long as the refusal said', DEADLINE, () =>
    withStore(async (store) => {
      await using fixture = gateway(store.url, { requestsPerMinute: 1 }, windowsOf({ requestsPerMinute: 1000 }));
      await fixture.admit();
      await delay((await fixture.refused()).retryAfterMs);
      await fixture.admit();
    }),
  );

  it('tell the store nothing that names a client', DEADLINE, () =>
    withStore(async (store) => {
      await using fixture = gateway(store.url, { requestsPerMinute: 5, maxConcurrent: 5 });
      await fixture.admit({ client: clientAt('203.0.113.7') });
      assert.equal(store.keys.length, 3);
      assert.equal(
        store.keys.some((key) => key.includes('203.0')),
        false,
      );
    }),
  );
});

describe('leases in a store', () => {
  it('are renewed while the request runs, however long, and given back at its end', DEADLINE, () =>
    withStore(async (store) => {
      await using first = gateway(store.url, { maxConcurrent: 1 });
      await using second = gateway(store.url, { maxConcurrent: 1 });
      const grant = await first.admit();
      // Four renewals take longer than a lease lives.
      for (let renewals = 0; renewals < 4; renewals++) await once(store.events, 'renew');
      assert.equal((await second.refused()).details['limit'], 'maxConcurrent');
      const returned = Promise.withResolvers<void>();
      store.events.on('command', (name) => (name === 'zrem' ? returned.resolve() : undefined));
      grant.settle(0);
      await returned.promise;
      await second.admit();
    }),
  );

  it('come back within their time to live when their gateway is killed', DEADLINE, () =>
    withStore(async (store) => {
      await using survivor = gateway(store.url, { maxConcurrent: 1 });
      const child = spawn(process.execPath, [HOLDER, store.url, String(TIMES.leaseTtlMs)], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      try {
        await once(child.stdout, 'data');
        for (let renewals = 0; renewals < 2; renewals++) await once(store.events, 'renew');
        await survivor.refused();
      } finally {
        child.kill('SIGKILL');
      }
      await once(child, 'exit');
      await delay(TIMES.leaseTtlMs);
      await survivor.admit();
    }),
  );
});

describe('a store that fails', () => {
  it('and refuses connections is done without, at once, and said once', DEADLINE, () =>
    withStore(async (store) => {
      await store.die();
      await using fixture = gateway(store.url, { requestsPerMinute: 2 });
      await fixture.admit();
      await fixture.admit();
      assert.equal((await fixture.refused()).code, 'rate_limit_exceeded');
      assert.deepEqual(
        fixture.storeChanges.map((change) => change.ok),
        [false],
      );
      assert.match(fixture.storeChanges[0]?.message ?? '', /ECONNREFUSED/);
    }),
  );

  it('refuses requests instead, if so configured', DEADLINE, () =>
    withStore(async (store) => {
      await store.die();
      await using fixture = gateway(store.url, { requestsPerMinute: 2, storeFailure: 'refuse' });
      const error = await fixture.refused();
      assert.deepEqual([error.code, error.status, error.retryable], ['rate_limits_unavailable', 503, true]);
      assert.ok((error.retryAfterMs ?? 0) > 0);
    }),
  );

  it('and never answers is waited for once, and not longer than a connection may take', DEADLINE, () =>
    withStore(async (store) => {
      store.setMute(true);
      await using fixture = gateway(store.url, { requestsPerMinute: 100 });
      assert.ok((await durationOf(() => fixture.admit())) < TIMES.connectMs + 500);
      assert.ok((await durationOf(() => fixture.admit())) < QUICK_MS);
    }),
  );

  it('and falls mute costs one deadline, then nothing, and is used again when it answers', DEADLINE, () =>
    withStore(async (store) => {
      await using fixture = gateway(store.url, { requestsPerMinute: 100 });
      await fixture.admit();
      store.setMute(true);
      const waited = await durationOf(() => Promise.all([fixture.admit(), fixture.admit(), fixture.admit()]));
      assert.ok(waited < TIMES.commandMs + 500, `${waited} ms`);
      assert.ok((await durationOf(() => fixture.admit())) < QUICK_MS);
      store.setMute(false);
      await changed(fixture, true);
      assert.deepEqual(
        fixture.storeChanges.map((change) => change.ok),
        [false, true],
      );
      const commands = store.commands;
      await fixture.admit();
      assert.ok(store.commands > commands);
    }),
  );

  it('and dies in the middle of a request loses neither the request nor the limits', DEADLINE, () =>
    withStore(async (store) => {
      await using fixture = gateway(store.url, { requestsPerMinute: 2, requestsPerHour: 10, maxConcurrent: 1 });
      (await fixture.admit()).settle(0);
      store.dieAfter(1);
      const grant = await fixture.admit();
      await fixture.refused();
      grant.settle(0);
      (await fixture.admit()).settle(0);
      assert.equal((await fixture.refused()).details['limit'], 'requestsPerMinute');
      store.dieAfter(Infinity);
      await store.start();
      await changed(fixture, true);
      const { commands } = store;
      await fixture.admit({ client: clientAt('1.1.1.1') });
      assert.ok(store.commands > commands);
    }),
  );

  it('and answers errors only is not taken for one that works', DEADLINE, () =>
    withStore(async (store) => {
      store.failWith('READONLY You can not write against a read only replica.');
      await using fixture = gateway(store.url, { requestsPerMinute: 5 });
      await fixture.admit();
      assert.deepEqual(
        fixture.storeChanges.map((change) => change.ok),
        [false],
      );
      assert.match(fixture.storeChanges[0]?.message ?? '', /READONLY/);
      store.failWith(null);
      await changed(fixture, true);
    }),
  );

  it('does not keep a request that is cancelled meanwhile', DEADLINE, () =>
    withStore(async (store) => {
      await using fixture = gateway(store.url, { tokensPerMinute: 100 });
      await fixture.admit();
      store.setMute(true);
      const controller = new AbortController();
      const refused = fixture.refused({ signal: controller.signal });
      const queued = fixture.refused({ signal: controller.signal });
      controller.abort();
      assert.ok((await durationOf(() => refused)) < QUICK_MS);
      assert.equal((await refused).code, 'cancelled');
      assert.equal((await queued).code, 'cancelled');
    }),
  );

  it('does not keep a gateway from stopping', DEADLINE, async () => {
    const silent = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const sockets: Socket[] = [];
    silent.on('connection', (socket) => sockets.push(socket));
    const fixture = gateway(`redis://127.0.0.1:${(silent.address() as AddressInfo).port}`, { requestsPerMinute: 5 });
    await once(silent, 'connection');
    const admitted = fixture.admit();
    assert.ok((await durationOf(() => fixture.limits.stop())) < 1000);
    await admitted;
    await fixture.limits.stop();
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
});
