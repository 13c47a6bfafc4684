import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { documentedVerification, startWebhookReceiver } from '../../telemetry/alerts/__tests__/webhook-receiver.ts';
import { writeFakeLlamaServerCommand } from '../../testing/fake-llama-server.ts';
import { llamero, startLlamero } from './child.ts';

const SECRET = 'never to be seen in any output';
const PATH_SECRET = 'T0KEN-of-the-receiver';

let cwd = '';
before(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'llamero-alerts-'));
  await writeFile(join(cwd, 'empty.secret'), '\n');
  await writeFile(join(cwd, 'webhook.secret'), `${SECRET}\n`);
});
after(() => rm(cwd, { recursive: true, maxRetries: 5 }));

/** A configuration with this webhook, in which alerts and restarts are in a hurry: two crashes within 10 s are a loop. */
async function configure(name: string, url: string): Promise<string> {
  const file = join(cwd, name);
  await writeFile(
    file,
    `gateway: { port: auto }
engine: { restart: { maxRestarts: 1000, delay: 20, maxDelay: 20 } }
alerts:
  interval: 50
  runbook: https://wiki.example.com/llamero
  rules: { LlameroEngineCrashLoop: { window: 10000, threshold: 1 }, LlameroEngineDown: { enabled: false } }
  webhook: { url: '${url}/${PATH_SECRET}', secretFile: webhook.secret, retryDelay: 20 }
`,
  );
  return file;
}

describe('an engine that crashes again and again', { timeout: 120_000 }, () => {
  test('is told of in /admin/status, log, webhook and llamero status, until it does no more', async () => {
    await using engine = await writeFakeLlamaServerCommand({ faults: { endAfterMs: { ms: 30, signal: 'SIGSEGV' } } });
    // The first try fails: what comes has been sent twice.
    await using receiver = await startWebhookReceiver((response, index) => {
      response.writeHead(index === 0 ? 500 : 204).end();
    });
    const config = await configure('loop.yaml', receiver.url);
    const env = { LLAMA_SERVER_PATH: engine.command, LLAMERO_CACHE_DIR: join(cwd, 'cache') };
    await using server = startLlamero(['serve', '--config', config], { cwd, env });
    const { url } = await server.record('listening');

    const fired = await receiver.received((_delivery, index) => index === 1);
    const message = JSON.parse(fired.body) as Record<string, unknown>;
    const { value, since, description, instance, ...known } = message;
    assert.deepEqual(known, {
      alert: 'LlameroEngineCrashLoop',
      severity: 'critical',
      state: 'firing',
      labels: { engine: '1' },
      summary: 'An engine crashes again and again',
      resolvedAt: null,
      runbook: 'https://wiki.example.com/llamero#llameroenginecrashloop',
    });
    assert.ok(Number(value) >= 2);
    assert.ok(Math.abs(Date.parse(String(since)) - Date.now()) < 60_000);
    assert.match(String(description), /^Engine 1 crashed \d+ times/);
    assert.ok(String(instance).endsWith(`:${new URL(String(url)).port}`));
    assert.equal(fired.path, `/${PATH_SECRET}`);
    const verify = await documentedVerification();
    assert.equal(verify(SECRET, String(fired.headers['x-llamero-signature']), fired.body), true);
    assert.equal(receiver.deliveries[0]?.headers['x-llamero-delivery'], fired.headers['x-llamero-delivery']);

    const { alerts } = (await (await fetch(`${String(url)}/admin/status`)).json()) as AlertsOfStatus;
    assert.deepEqual(
      alerts.firing.map(({ name }) => name),
      ['LlameroEngineCrashLoop'],
    );
    const status = await llamero(['status', '--url', String(url)], { cwd });
    assert.match(status.stdout, /^alerts:\n {2}critical LlameroEngineCrashLoop: Engine 1 crashed \d+ times/);
    const logged = await server.record('alert firing');
    assert.equal(logged['level'], 'warn');
    assert.equal(logged['alert'], 'LlameroEngineCrashLoop');

    await engine.configure({});
    const resolved = await receiver.received((_delivery, index) => index === 2);
    const end = JSON.parse(resolved.body) as Record<string, unknown>;
    assert.equal(end['state'], 'resolved');
    assert.ok(Date.parse(String(end['resolvedAt'])) > Date.parse(String(end['since'])));
    assert.equal((await server.record('alert resolved'))['level'], 'info');
    const after_ = (await (await fetch(`${String(url)}/admin/status`)).json()) as AlertsOfStatus;
    assert.deepEqual(after_.alerts.firing, []);
    assert.deepEqual(
      after_.alerts.resolved.map(({ name }) => name),
      ['LlameroEngineCrashLoop'],
    );
    assert.deepEqual(after_.alerts.webhook, { queued: 0, delivered: 2, dropped: 0, failure: null });
    assert.match((await llamero(['status', '--url', String(url)], { cwd })).stdout, /^alerts: none\n/);

    const bundle = await llamero(['debug', 'bundle', '--config', config, '--url', String(url), '--out', 'b.tar.gz'], {
      cwd,
    });
    assert.equal(bundle.code, 0, bundle.stderr);
    server.child.kill('SIGTERM');
    const { code, stdout, stderr } = await server.ended;
    assert.equal(code, 0);
    const unpacked = await unpack(join(cwd, 'b.tar.gz'));
    assert.match(unpacked, /LlameroEngineCrashLoop/);
    for (const text of [stdout, stderr, status.stdout, bundle.stdout, bundle.stderr, unpacked]) {
      assert.ok(!text.includes(SECRET) && !text.includes(PATH_SECRET), text);
    }
  });

  test('a receiver that never answers delays neither requests nor the end', async () => {
    await using engine = await writeFakeLlamaServerCommand({ faults: { endAfterMs: { ms: 30 }, firstStarts: 2 } });
    await using receiver = await startWebhookReceiver(() => undefined);
    const config = await configure('silent.yaml', receiver.url);
    const env = { LLAMA_SERVER_PATH: engine.command, LLAMERO_CACHE_DIR: join(cwd, 'cache') };
    await using server = startLlamero(['serve', '--config', config], { cwd, env });
    const { url } = await server.record('listening');
    await receiver.received(() => true);
    const answer = await fetch(`${String(url)}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'Hello', max_tokens: 4 }),
    });
    assert.equal(answer.status, 200);
    await answer.text();
    const start = performance.now();
    server.child.kill('SIGTERM');
    assert.equal((await server.ended).code, 0);
    const tookMs = performance.now() - start;
    assert.ok(tookMs < 3000, `the end took ${tookMs} ms`);
  });
});

describe('configuration of alerts', { timeout: 60_000 }, () => {
  test('config print shows no more of the address than its origin', async () => {
    const config = await configure('print.yaml', 'https://me:pass@hooks.example.com');
    const { stdout } = await llamero(['config', 'print', '--config', config], { cwd });
    assert.match(stdout, /url: https:\/\/hooks\.example\.com\/\*\*\*\n/);
    assert.doesNotMatch(stdout, /T0KEN|me:pass/);
    assert.ok(stdout.includes(`secretFile: ${join(cwd, 'webhook.secret')}`), 'relative to its file');
  });

  const refused: [title: string, text: string, env: NodeJS.ProcessEnv, stderr: RegExp][] = [
    ['an alert that there is not', 'alerts: { rules: { Nope: {} } }', {}, /alerts\.rules\.Nope: unknown key/],
    [
      'a threshold where there is none',
      'alerts:\n  rules:\n    LlameroEngineDown: { threshold: 3 }',
      {},
      /alerts\.rules\.LlameroEngineDown\.threshold: this alert has no threshold.*\(from bad\.yaml:3\)/,
    ],
    [
      'an address of another kind, which is not quoted',
      '',
      { LLAMERO_ALERTS_WEBHOOK_URL: 'ftp://hooks/T0KEN' },
      /^(?![^]*T0KEN)[^]*alerts\.webhook\.url: [^]*LLAMERO_ALERTS_WEBHOOK_URL/,
    ],
    [
      'a secret that is not there',
      "alerts: { webhook: { url: 'http://127.0.0.1:9', secretFile: ./none } }",
      {},
      /alerts\.webhook\.secretFile: cannot read /,
    ],
    [
      'an empty secret',
      "alerts: { webhook: { url: 'http://127.0.0.1:9', secretFile: ./empty.secret } }",
      {},
      /alerts\.webhook\.secretFile: .*empty\.secret is empty/,
    ],
  ];
  for (const [title, text, env, expected] of refused) {
    test(`${title} is refused`, async () => {
      await writeFile(join(cwd, 'bad.yaml'), `${text}\n`);
      const ended = await llamero(['serve', '--port', 'auto', '--config', 'bad.yaml'], {
        cwd,
        env: { LLAMERO_CACHE_DIR: join(cwd, 'cache'), ...env },
      });
      assert.equal(ended.code, 2, ended.stderr);
      assert.match(ended.stderr, expected);
    });
  }
});

interface AlertsOfStatus {
  readonly alerts: {
    readonly firing: readonly { name: string }[];
    readonly resolved: readonly { name: string }[];
    readonly webhook: unknown;
  };
}

/** All texts of an archive. */
async function unpack(file: string): Promise<string> {
  const { list } = await import('tar');
  const chunks: Buffer[] = [];
  await list({ file, onReadEntry: (entry) => void entry.on('data', (chunk: Buffer) => chunks.push(chunk)) });
  return Buffer.concat(chunks).toString();
}
