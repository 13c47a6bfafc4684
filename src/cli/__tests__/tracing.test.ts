import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { OtlpCollector } from '../../telemetry/__tests__/otlp-collector.ts';
import { type FakeLlamaServer, startFakeLlamaServer } from '../../testing/fake-llama-server.ts';
import { startLlamero } from './child.ts';

const RECORDER = new URL(`module-recorder${extname(import.meta.url)}`, import.meta.url).href;

describe('llamero serve and OpenTelemetry', { timeout: 60_000 }, () => {
  let cwd = '';
  let engine: FakeLlamaServer;
  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), 'llamero-tracing-'));
    engine = await startFakeLlamaServer();
  });
  after(async () => {
    await engine.stop();
    await rm(cwd, { recursive: true, maxRetries: 5 });
  });

  function start(env: NodeJS.ProcessEnv) {
    const nodeOptions = `${process.env['NODE_OPTIONS'] ?? ''} --import ${RECORDER}`;
    return startLlamero(['serve', '--port', 'auto', '--engine-url', engine.url], {
      cwd,
      env: { ...env, NODE_OPTIONS: nodeOptions },
    });
  }

  test('sends the last spans before it ends, with what the environment says of it', async () => {
    await using collector = await OtlpCollector.start();
    const loaded = join(cwd, 'loaded-with.txt');
    await using server = start({
      LOADED_MODULES: loaded,
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=me',
      OTEL_SERVICE_NAME: 'chat',
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test,service.name=other',
    });
    await ask(server);
    server.child.kill('SIGTERM');
    assert.equal((await server.ended).code, 0);
    const span = await collector.span('POST /v1/chat/completions');
    assert.equal(span.resource['service.name'], 'chat');
    assert.equal(span.resource['deployment.environment.name'], 'test');
    assert.match(String(span.resource['service.version']), /^\d+\.\d+\.\d+/);
    assert.match(await readFile(loaded, 'utf8'), /^@opentelemetry\/sdk-trace$/m);
    assert.equal(collector.posts[0]?.headers['x-tenant'], 'me');
    assert.equal(collector.posts[0]?.contentType, 'application/x-protobuf');
  });

  test('loads nothing of it without configuration', async () => {
    const loaded = join(cwd, 'loaded.txt');
    await writeFile(loaded, '');
    await using server = start({ LOADED_MODULES: loaded });
    await ask(server);
    server.child.kill('SIGTERM');
    assert.equal((await server.ended).code, 0);
    const packages = new Set((await readFile(loaded, 'utf8')).split('\n').filter((name) => name !== ''));
    // The library of the metrics loads the API, for its own exemplars.
    packages.delete('@opentelemetry/api');
    assert.deepEqual([...packages], []);
  });

  test('refuses to start without the packages, and says which', async () => {
    await using server = start({
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318',
      MISSING_MODULES: '@opentelemetry/exporter-trace-otlp-proto',
    });
    const { code, stderr } = await server.ended;
    assert.equal(code, 2);
    assert.match(
      stderr,
      /^llamero: Traces are configured .* npm install @opentelemetry\/sdk-trace@3 @opentelemetry\/exporter-trace-otlp-proto@0/m,
    );
  });

  test('ends in time where the collector is dead', async () => {
    const collector = await OtlpCollector.start();
    const { url } = collector;
    await collector[Symbol.asyncDispose]();
    await using server = start({ OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_BSP_SCHEDULE_DELAY: '1' });
    await ask(server);
    const startedAt = performance.now();
    server.child.kill('SIGTERM');
    assert.equal((await server.ended).code, 0);
    const tookMs = performance.now() - startedAt;
    assert.ok(tookMs < 4000, `ended after ${Math.round(tookMs)} ms, of which at most 2000 are for the spans`);
  });
});

/** One chat. */
async function ask(server: ReturnType<typeof startLlamero>): Promise<void> {
  const { url } = await server.record('serving');
  const response = await fetch(`${String(url)}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }], max_tokens: 2 }),
  });
  assert.equal(response.status, 200);
  await response.text();
}
