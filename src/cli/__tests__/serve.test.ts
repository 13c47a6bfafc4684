import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { LlameroError } from '../../core/errors.ts';
import { type FakeLlamaServerCommand, writeFakeLlamaServerCommand } from '../../testing/fake-llama-server.ts';
import { announcementText, curlLine } from '../serve/announcement.ts';
import { listen } from '../serve/listen.ts';
import { startLlamero } from './child.ts';

let cwd = '';
before(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'llamero-serve-'));
});
after(() => rm(cwd, { recursive: true, maxRetries: 5 }));

describe('the curl line', () => {
  test('without keys', () => {
    assert.equal(
      curlLine({ url: 'http://127.0.0.1:8080', needsKey: false }),
      `curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' ` +
        `-d '{"messages":[{"role":"user","content":"Hello"}],"max_tokens":32}'`,
    );
  });
  test('with keys it has a place for one', () => {
    assert.match(curlLine({ url: 'http://h:1', needsKey: true }), / -H 'Authorization: Bearer YOUR_API_KEY' /);
  });
  test('brackets of an address are quoted', () => {
    assert.match(curlLine({ url: 'http://[::1]:80', needsKey: false }), /^curl 'http:\/\/\[::1\]:80\/v1/);
  });
  test('noise is called noise', () => {
    const facts = { url: 'http://h', model: 'm', engine: '1', slots: 1, contextLength: 1, needsKey: false };
    assert.match(announcementText({ ...facts, builtIn: true }), /noise/);
    assert.doesNotMatch(announcementText({ ...facts, builtIn: false }), /noise/);
  });
});

describe('a taken port', () => {
  test('gives way to the next free one', async () => {
    const gateway = taken(8080, 8082);
    assert.equal((await listen(gateway, { port: 8080, named: false })).port, 8083);
    assert.deepEqual(gateway.tried, [8080, 8081, 8082, 8083]);
  });
  test('is an error in the end', async () => {
    await assert.rejects(listen(taken(0, 70_000), { port: 65_530, named: false }), /taken/);
  });
  test('is an error at once when it was named', async () => {
    const gateway = taken(-1, 9000);
    await assert.rejects(listen(gateway, { port: 9000, named: true }), /taken/);
    assert.equal(gateway.tried.length, 1);
  });
});

/** The real llama-server where there is one; the double behaves the same in all that these tests look at. */
describe('llamero serve', { timeout: 120_000 }, () => {
  let double: FakeLlamaServerCommand;
  before(async () => {
    double = await writeFakeLlamaServerCommand();
  });
  after(() => double.remove());
  const env = () => ({
    LLAMA_SERVER_PATH: process.env['LLAMA_SERVER_PATH'] ?? double.command,
    LLAMERO_CACHE_DIR: join(cwd, 'cache'),
  });

  test('serves the built-in model, its curl line works, and SIGTERM ends it in order', async () => {
    await using server = startLlamero(['serve', '--port', 'auto'], { cwd, env: env() });
    const serving = await server.record('serving');
    assert.equal(serving['builtIn'], true);
    const { stdout } = await promisify(execFile)('sh', ['-c', `${String(serving['curl'])} --silent --fail-with-body`]);
    const answer = JSON.parse(stdout) as { choices: { message: { content: string } }[] };
    assert.ok((answer.choices[0]?.message.content ?? '').length > 0);
    server.child.kill('SIGTERM');
    const { code, stdout: said } = await server.ended;
    assert.equal(code, 0);
    assert.ok(
      said.includes(`\n  ${String(serving['curl'])}\n`),
      'the announcement, and nothing of the log, is on standard output',
    );
    assert.doesNotMatch(said, /"level"/);
  });

  test('listens before the engine is ready, and a signal in between ends it in order', async () => {
    await using loading = await writeFakeLlamaServerCommand({ faults: { neverReady: true } });
    const options = { cwd, env: { ...env(), LLAMA_SERVER_PATH: loading.command } };
    await using server = startLlamero(['serve', '--port', 'auto'], options);
    const { url } = await server.record('listening');
    assert.equal((await fetch(`${String(url)}/livez`)).status, 200);
    assert.equal((await fetch(`${String(url)}/readyz`)).status, 503);
    server.child.kill('SIGINT');
    assert.equal((await server.ended).code, 0);
  });

  test('a second signal ends it at once', async () => {
    await using slow = await writeFakeLlamaServerCommand({ faults: { slowHeadersMs: 60_000 } });
    const options = { cwd, env: { ...env(), LLAMA_SERVER_PATH: slow.command } };
    await using server = startLlamero(['serve', '--port', 'auto'], options);
    const { url } = await server.record('serving');
    const answer = fetch(`${String(url)}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }] }),
    });
    const cut = assert.rejects(answer, 'a client sees that its request was cut');
    await slow.waitForCounters(({ started }) => started === 1);
    server.child.kill('SIGTERM');
    await server.record('shutting down; a second signal ends at once');
    server.child.kill('SIGTERM');
    assert.equal((await server.ended).code, 1);
    await cut;
  });

  test('a port that was named and is taken is a failure', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    await using server = startLlamero(['serve', '--port', String(port)], { cwd, env: env() });
    const { code, stderr } = await server.ended;
    other.close();
    assert.equal(code, 1);
    assert.match(
      stderr,
      new RegExp(`^llamero: Cannot listen on 127\\.0\\.0\\.1, port ${port}: the port is taken`, 'm'),
    );
  });

  test('an option that llama-server does not know ends it', async () => {
    await using refusing = await writeFakeLlamaServerCommand({ faults: { startFailure: 'wrong_option' } });
    const command = process.env['LLAMA_SERVER_PATH'] ?? refusing.command;
    const options = { cwd, env: { ...env(), LLAMA_SERVER_PATH: command } };
    await using server = startLlamero(['serve', '--port', 'auto', '--', '--no-such-option'], options);
    const { code, stderr } = await server.ended;
    assert.equal(code, 1);
    assert.match(stderr, /"msg":"engine lost"/);
    assert.match(stderr, /^llamero: llama-server does not accept one of its options/m);
  });

  test('pretty on request: the announcement is all that stands on standard output', async () => {
    await using server = startLlamero(['serve', '--port', 'auto', '--log-format', 'pretty'], { cwd, env: env() });
    await once(server.child.stdout ?? assert.fail('no pipe'), 'data');
    server.child.kill('SIGTERM');
    const { stdout, stderr } = await server.ended;
    assert.match(stdout, /llamero serves llamero-tiny.* at http:[^]*engine +llama-server[^]*slots +4[^]*curl http/);
    assert.match(stderr, /INFO: engine ready/);
  });

  test('warns of an open address without keys', async () => {
    const file = join(cwd, 'early.yaml');
    await writeFile(file, 'gateway: { host: 0.0.0.0, port: auto }\n');
    await using server = startLlamero(['serve', '--config', file], { cwd, env: env() });
    await server.record('serving');
    server.child.kill('SIGTERM');
    const { code, stderr } = await server.ended;
    assert.equal(code, 0);
    assert.match(stderr, /"level":"warn".*Listening on 0\.0\.0\.0 without API keys/);
  });
});

/** A gateway on a machine where the ports between these two are taken. */
function taken(from: number, to: number) {
  const tried: number[] = [];
  return {
    tried,
    listen: async ({ port = -1 }: { port?: number } = {}) => {
      tried.push(port);
      if (port >= from && port <= to) {
        throw new LlameroError('invalid_options', 'taken', { details: { reason: 'EADDRINUSE' } });
      }
      return { host: '127.0.0.1', port, url: '' };
    },
  };
}
