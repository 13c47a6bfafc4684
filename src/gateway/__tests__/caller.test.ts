import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { Client } from '../../core/admission/client.ts';
import { type Config, type ConfigInput, parseConfig } from '../../core/config.ts';
import { createGateway } from '../gateway.ts';
import { type ApiKeyEntry, type ApiKeyGrant, formatKeyFile, newApiKey } from '../key-file.ts';
import type { KeyFileReport } from '../key-ring.ts';
import { post, RawClient, type RawAnswer } from './raw-client.ts';
import { ScriptedBackend } from './scripted-backend.ts';

/** A gateway whose backend tells who called. */
async function serve(t: TestContext, gatewayConfig: ConfigInput['gateway'] = {}) {
  const backend = new ScriptedBackend();
  const reports: ((report: KeyFileReport) => void)[] = [];
  const gateway = createGateway({
    provider: backend,
    config: parseConfig({ gateway: { port: 'auto', ...gatewayConfig } }),
    onKeyFile: (report) => reports.splice(0).forEach((resolve) => resolve(report)),
  });
  t.after(() => gateway.stop());
  const { port } = await gateway.listen();
  return {
    port,
    reloaded: () => new Promise<KeyFileReport>((resolve) => reports.push(resolve)),
    /** Sends a request on a connection and says whom the backend took for its sender. */
    ask: async (client: RawClient, ...headers: string[]): Promise<Client | RawAnswer> => {
      const before = backend.seen.length;
      client.send(post('/v1/completions', '{}', headers));
      const answer = await client.answer();
      return backend.seen[before]?.request.client ?? answer;
    },
  };
}

async function keyFile(t: TestContext, ...grants: ApiKeyGrant[]) {
  const folder = await mkdtemp(path.join(tmpdir(), 'llamero-caller-'));
  t.after(() => rm(folder, { recursive: true }));
  const file = path.join(folder, 'keys.json');
  const made = grants.map((grant, index) => newApiKey(`n${index}`, new Date(), grant));
  const write = (entries: readonly ApiKeyEntry[]) => writeFile(file, formatKeyFile({ version: 1, keys: [...entries] }));
  await write(made.map(({ entry }) => entry));
  return { file, made, write };
}

function keyOf(answer: Client | RawAnswer): string {
  return 'key' in answer ? answer.key : `${answer.status} ${answer.body}`;
}

describe('who calls, through a real gateway', { timeout: 20_000 }, () => {
  it('is the address of the socket, whatever the headers say', async (t) => {
    const { port, ask } = await serve(t);
    using client = new RawClient(port);
    assert.equal(keyOf(await ask(client)), 'ip:id:127.0.0.1');
    for (const header of ['X-User-Id: alice', 'X-Forwarded-For: 127.0.0.1']) {
      assert.equal(keyOf(await ask(client, header)), 'ip:id:127.0.0.1', header);
    }
  });

  it('is a session within that address, as long as there are not too many', async (t) => {
    const { port, ask } = await serve(t);
    using client = new RawClient(port);
    assert.equal(keyOf(await ask(client, 'X-Session-Id: mine')), 'session:ip:9:127.0.0.1:mine');
    for (let made = 0; made < 20; made += 1) await ask(client, `X-Session-Id: made-up-${made}`);
    assert.equal(keyOf(await ask(client, 'X-Session-Id: one-more')), 'ip:id:127.0.0.1');
    assert.equal(keyOf(await ask(client, 'X-Session-Id: mine')), 'session:ip:9:127.0.0.1:mine');
  });

  it('is one object for all plain requests of a connection', async (t) => {
    const { port, ask } = await serve(t);
    using client = new RawClient(port);
    const first = await ask(client);
    await ask(client, 'X-Priority: batch');
    assert.equal(await ask(client), first);
    using other = new RawClient(port);
    assert.notEqual(await ask(other), first);
    assert.deepEqual(await ask(other), first);
  });

  it('is whom a trusted proxy names, as long as it is somebody here', async (t) => {
    const { port, ask } = await serve(t, { trustedProxies: ['127.0.0.1'] });
    using client = new RawClient(port);
    assert.equal(keyOf(await ask(client, 'X-User-Id: alice')), 'user:id:alice');
    assert.equal(keyOf(await ask(client)), 'ip:id:127.0.0.1', 'the connection is nobody else’s');
    assert.equal(keyOf(await ask(client, 'X-Session-Id: s', 'X-Forwarded-For: ::1')), 'session:id:s');
    assert.match(keyOf(await ask(client, 'X-User-Id: alice', 'X-User-Id: bob')), /^400 .*"param":"x-user-id"/);
    assert.match(keyOf(await ask(client, 'X-Forwarded-For: 203.0.113.1')), /^401 /);
  });

  it('is whom a key stands for, with what the key grants', async (t) => {
    const limits = { requestsPerMinute: 7, tokensPerDay: null };
    const alice: ApiKeyGrant = { userId: 'alice', weight: 3, priority: 'interactive', limits };
    const keys = await keyFile(t, alice, {}, { mayActForOthers: true, weight: 2 });
    const { port, ask } = await serve(t, { apiKeyFile: keys.file });
    const [ofAlice, plain, app] = keys.made.map(({ key }) => `Authorization: Bearer ${key}`) as [
      string,
      string,
      string,
    ];
    const id = (index: number) => keys.made[index]?.entry.id ?? '';
    using client = new RawClient(port);
    const expected = { pool: 'user', key: 'user:id:alice', weight: 3, priority: 'interactive', limits };
    assert.deepEqual(await ask(client, ofAlice), expected);
    assert.deepEqual(await ask(client, ofAlice, 'X-User-Id: bob', 'X-Priority: batch'), {
      ...expected,
      priority: 'batch',
    });
    assert.equal(keyOf(await ask(client, plain)), `user:key:${id(1)}`, 'another key on the same connection');
    assert.equal(keyOf(await ask(client, plain, 'X-Session-Id: fresh')), `user:key:${id(1)}`);
    assert.equal(keyOf(await ask(client, plain, 'X-Priority: interactive')), `user:key:${id(1)}`);
    assert.equal(keyOf(await ask(client, app)), `user:key:${id(2)}`);
    const carol = await ask(client, app, 'X-User-Id: carol');
    assert.deepEqual(carol, { pool: 'user', key: 'user:id:carol', weight: 2, priority: 'default', limits: {} });
    assert.equal(keyOf(await ask(client, app, 'X-Session-Id: s')), `session:key:${id(2).length}:${id(2)}:s`);
    assert.equal(keyOf(await ask(client, app, 'X-Forwarded-For: 203.0.113.1')), 'ip:id:203.0.113.1');
    assert.match(keyOf(await ask(client)), /^401 /);
  });

  it('follows the key file on connections that are open', async (t) => {
    const keys = await keyFile(t, { userId: 'alice' });
    const { port, ask, reloaded } = await serve(t, { apiKeyFile: keys.file });
    const { key, entry } = keys.made[0] as { key: string; entry: ApiKeyEntry };
    using client = new RawClient(port);
    assert.equal(keyOf(await ask(client, `x-api-key: ${key}`)), 'user:id:alice');
    const report = reloaded();
    await keys.write([{ ...entry, userId: 'bob', weight: 9 }]);
    assert.deepEqual(await report, { keys: 1 });
    const bob = { pool: 'user', key: 'user:id:bob', weight: 9, priority: 'default', limits: {} };
    assert.deepEqual(await ask(client, `x-api-key: ${key}`), bob);
  });

  it('is no concern of what is open to all', async (t) => {
    const { port } = await serve(t, { trustedProxies: ['127.0.0.1'] });
    const request = httpRequest({ port, host: '127.0.0.1', path: '/livez', headers: { 'x-user-id': 'a, b' } }).end();
    const [response] = await once(request, 'response');
    response.resume();
    assert.equal(response.statusCode, 200);
  });

  it('needs proxies that are addresses or ranges', () => {
    const config: Config = parseConfig({});
    config.gateway.trustedProxies = ['10.0.0.0/8', 'nginx'];
    assert.throws(() => createGateway({ provider: new ScriptedBackend(), config }), {
      code: 'invalid_options',
      param: 'gateway.trustedProxies[1]',
    });
    assert.throws(() => parseConfig({ gateway: { trustedProxies: ['::1', 'nginx'] } }), {
      code: 'invalid_options',
      param: 'gateway.trustedProxies[1]',
    });
  });
});
