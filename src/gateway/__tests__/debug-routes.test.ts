import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parseConfig } from '../../core/config.ts';
import { Diagnostics } from '../../telemetry/diagnostics.ts';
import { createGateway, type Gateway } from '../gateway.ts';
import { addApiKey } from '../key-store.ts';
import { ScriptedBackend } from './scripted-backend.ts';

const HEAP = '/admin/debug/heap-snapshot';
const CPU = '/admin/debug/cpu-profile';
const LOG = '/admin/debug/log';
const ELSEWHERE = { 'x-forwarded-for': '203.0.113.9' };

interface Answer {
  status: number;
  body: { file: string; bytes: number; lines: string[]; error: { code: string; message: string } };
}

describe('routes for debugging', { timeout: 120_000 }, () => {
  let root = '';
  before(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'llamero-debug-routes-'));
  });
  after(() => rm(root, { recursive: true }));

  async function serve(options: { keyFile?: string; debug?: boolean; availableBytes?: number } = {}) {
    const folder = await mkdtemp(path.join(root, 'debug-'));
    const { keyFile = null, debug = true, availableBytes = Number.MAX_SAFE_INTEGER } = options;
    const diagnostics = new Diagnostics({
      folder,
      recentLog: () => ['{"msg":"listening"}'],
      availableBytes: () => availableBytes,
    });
    const gateway: Gateway = createGateway({
      provider: new ScriptedBackend(),
      config: parseConfig({ gateway: { port: 0, apiKeyFile: keyFile } }),
      ...(debug ? { diagnostics } : {}),
    });
    const { url } = await gateway.listen();
    const call = async (route: string, init: RequestInit = { method: 'POST' }): Promise<Answer> => {
      const response = await fetch(url + route, init);
      return { status: response.status, body: (await response.json()) as Answer['body'] };
    };
    return { folder, call, url, [Symbol.asyncDispose]: () => gateway.stop() };
  }

  it('write files and tell their names', async () => {
    await using server = await serve();
    const heap = await server.call(HEAP);
    assert.equal(heap.status, 200, JSON.stringify(heap.body));
    assert.equal((await stat(heap.body.file)).size, heap.body.bytes);
    // A body that nobody asked for is read over, whatever it claims to be.
    const json = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"broken' };
    const cpu = await server.call(`${CPU}?seconds=1`, json);
    assert.equal(cpu.status, 200, JSON.stringify(cpu.body));
    assert.match(cpu.body.file, /\.cpuprofile$/);
    const lines = await server.call(LOG, {});
    assert.deepEqual(lines, { status: 200, body: { lines: ['{"msg":"listening"}'], engine: [] } });
  });

  it('take whole seconds from 1 to 60', async () => {
    await using server = await serve();
    for (const seconds of ['0', '61', '1.5', '-1', 'x', '', '1&seconds=2', '9999']) {
      const { status, body } = await server.call(`${CPU}?seconds=${seconds}`);
      assert.equal(status, 400, seconds);
      assert.match(body.error.message, /^seconds: expected a whole number from 1 to 60/);
    }
    assert.deepEqual(await readdir(server.folder), []);
  });

  it('make one file at a time, and none whose caller has gone', async () => {
    await using server = await serve();
    const gone = new AbortController();
    const left = assert.rejects(fetch(`${server.url}${CPU}?seconds=60`, { method: 'POST', signal: gone.signal }));
    let busy = await server.call(HEAP);
    // It may come before the profile.
    while (busy.status === 200) busy = await server.call(HEAP);
    assert.equal(busy.status, 409);
    assert.equal(busy.body.error.code, 'already_running');
    gone.abort();
    await left;
    let next = await server.call(`${CPU}?seconds=1`);
    while (next.status === 409) next = await server.call(`${CPU}?seconds=1`);
    assert.equal(next.status, 200);
  });

  it('do not hold up the end of the gateway', async () => {
    const server = await serve();
    const cut = assert.rejects(fetch(`${server.url}${CPU}?seconds=60`, { method: 'POST' }));
    let busy = await server.call(HEAP);
    while (busy.status === 200) busy = await server.call(HEAP);
    const startedAt = performance.now();
    await server[Symbol.asyncDispose]();
    await cut;
    assert.ok(performance.now() - startedAt < 50_000);
  });

  it('refuse where memory would not allow it', async () => {
    await using server = await serve({ availableBytes: 1 });
    const { status, body } = await server.call(HEAP);
    assert.equal(status, 503);
    assert.equal(body.error.code, 'memory_pressure');
  });

  it('take their own method only, and are not there without diagnostics', async () => {
    await using server = await serve();
    assert.equal((await server.call(HEAP, {})).body.error.code, 'method_not_allowed');
    assert.equal((await server.call(LOG)).body.error.code, 'method_not_allowed');
    await using without = await serve({ debug: false });
    for (const route of [HEAP, CPU]) assert.equal((await without.call(route)).body.error.code, 'not_found');
    assert.equal((await without.call(LOG, {})).body.error.code, 'not_found');
  });

  it('want a key that may administer where there are keys, from this machine too; the state is shown to every key', async () => {
    const keyFile = path.join(root, 'keys.json');
    const plain = `Bearer ${(await addApiKey(keyFile, 'plain')).key}`;
    const admin = `Bearer ${(await addApiKey(keyFile, 'admin', { mayAdminister: true })).key}`;
    await using server = await serve({ keyFile, availableBytes: 1 });
    const ask = (route: string, method: string, headers: Record<string, string>) =>
      server.call(route, { method, headers });
    for (const [route, method, allowed] of [
      [HEAP, 'POST', 503],
      [`${CPU}?seconds=0`, 'POST', 400],
      [LOG, 'GET', 200],
    ] as const) {
      assert.equal((await ask(route, method, {})).status, 401, route);
      for (const from of [{}, ELSEWHERE]) {
        const refused = await ask(route, method, { authorization: plain, ...from });
        assert.equal(refused.body.error.code, 'permission_denied', route);
        assert.equal((await ask(route, method, { authorization: admin, ...from })).status, allowed, route);
      }
    }
    assert.equal((await ask('/admin/status', 'GET', { authorization: plain, ...ELSEWHERE })).status, 200);
  });
});
