import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type FakeLlamaServer, startFakeLlamaServer, writeFakeLlamaServerCommand } from '../../testing/index.ts';
import { modelFolder } from '../../gateway/__tests__/served-engine.ts';
import { OtlpCollector, type ReceivedSpan } from './otlp-collector.ts';
import { recordingProxy } from './recording-proxy.ts';
import { traceGateway } from './traced-gateway.ts';

const CHAT = '/v1/chat/completions';
const SPAN = `POST ${CHAT}`;
const BODY = { messages: [{ role: 'user', content: 'a secret prompt' }], max_tokens: 8 };
const STREAM = { ...BODY, stream: true };
const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT_ID = '00f067aa0ba902b7';
const SAMPLED = `00-${TRACE_ID}-${PARENT_ID}-01`;
const UNSAMPLED = `00-${TRACE_ID}-${PARENT_ID}-00`;
const FAST_RESTART = { maxRestarts: 10, window: 60_000, delay: 1, backoffMultiplier: 1, maxDelay: 1 };

let engine: FakeLlamaServer;
before(async () => {
  engine = await startFakeLlamaServer({ tokensPerSecond: 200, prefillMs: 20 });
});
after(() => engine.stop());

/** The requests of a gateway, as a collector receives them. */
describe('traces of a gateway', { timeout: 60_000 }, () => {
  it('show a stream below its caller, with its phases one behind the other', async () => {
    await using collector = await OtlpCollector.start();
    await using served = await traceGateway({ engineUrl: engine.url }, { endpoint: collector.endpoint });
    const headers = {
      traceparent: SAMPLED,
      tracestate: 'vendor=1',
      'x-request-id': 'my-request',
      'x-user-id': 'somebody',
    };
    const sentAt = BigInt(Date.now()) * 1_000_000n;
    await served.post(CHAT, STREAM, headers);
    const span = await collector.span(SPAN);
    const receivedAt = BigInt(Date.now() + 1) * 1_000_000n;
    const { traceId, parentId, traceState, kind, status } = span;
    assert.deepEqual(
      { traceId, parentId, traceState, kind, status },
      { traceId: TRACE_ID, parentId: PARENT_ID, traceState: 'vendor=1', kind: 2, status: { code: 0, message: '' } },
    );
    assert.ok(span.start >= sentAt && span.end <= receivedAt);
    const {
      'llamero.overhead': overhead,
      'gen_ai.response.time_to_first_chunk': firstToken,
      ...rest
    } = span.attributes;
    assert.deepEqual(rest, {
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'llama_cpp',
      'gen_ai.request.max_tokens': 8,
      'gen_ai.request.model': 'fake.gguf',
      'gen_ai.request.stream': true,
      'gen_ai.response.model': 'fake.gguf',
      'gen_ai.usage.input_tokens': 22,
      'gen_ai.usage.output_tokens': 8,
      'http.request.method': 'POST',
      'http.response.status_code': 200,
      'http.route': CHAT,
      'llamero.continuations': 0,
      'llamero.outcome': 'completed',
      'llamero.request.id': 'my-request',
      'llamero.retries': 0,
      'url.path': CHAT,
      'url.scheme': 'http',
    });
    assert.ok(Number(overhead) > 0 && Number(firstToken) >= 0.02);
    assertPhases(collector, span, ['queue', 'prefill', 'decode']);
    const [, prefill, decode] = collector.childrenOf(span);
    assert.ok(lengthMs(prefill) >= 20 && lengthMs(decode) >= 30, 'as long as the engine took');
    assert.equal(span.resource['service.name'], 'llamero');
    assert.equal(span.resource['service.version'], '0.0.0-test');
    const said = JSON.stringify(collector.spans, (_key, value: unknown) => (typeof value === 'bigint' ? '' : value));
    assert.doesNotMatch(said, /secret|somebody|127\.0\.0\.1/);
  });

  it('begin with the gateway where its caller has none, and go on to the engine', async () => {
    await using proxy = await recordingProxy(engine.url);
    await using collector = await OtlpCollector.start();
    const exported = { endpoint: collector.endpoint, serviceName: 'my-gateway' };
    await using served = await traceGateway({ engineUrl: proxy.url }, exported);
    await served.post(CHAT, BODY);
    const span = await collector.span(SPAN);
    assert.equal(span.parentId, '');
    assert.equal(span.resource['service.name'], 'my-gateway');
    assertPhases(collector, span, ['queue', 'engine']);
    assert.equal(proxy.seen(CHAT)[0]?.['traceparent'], `00-${span.traceId}-${span.spanId}-01`);
    assert.equal(proxy.seen(CHAT)[0]?.['tracestate'], undefined);

    await served.post('/tokenize', { content: 'hello' }, { traceparent: SAMPLED, tracestate: 'vendor=1' });
    const other = await collector.span('POST /tokenize');
    assert.equal(other.attributes['gen_ai.operation.name'], undefined);
    assert.equal(proxy.seen('/tokenize')[0]?.['traceparent'], `00-${TRACE_ID}-${other.spanId}-01`);
    assert.equal(proxy.seen('/tokenize')[0]?.['tracestate'], 'vendor=1');
  });

  it('tell failures by their code, and whose they are', async () => {
    await using failing = await startFakeLlamaServer({ faults: { refuse: { status: 500 }, promptsWith: 'secret' } });
    await using collector = await OtlpCollector.start();
    const config = { engineUrl: failing.url, retry: { maxRetries: 0 } };
    await using served = await traceGateway(config, { endpoint: collector.endpoint });
    assert.equal((await served.post(CHAT, BODY)).status, 502);
    const ours = await collector.span(SPAN);
    assert.equal(ours.attributes['error.type'], 'engine_error');
    assert.deepEqual(ours.status, { code: 2, message: 'The engine failed while it worked on the request.' });
    assert.equal(ours.attributes['llamero.outcome'], 'failed');

    assert.equal((await served.post(CHAT, { ...BODY, messages: 'none' }, { traceparent: SAMPLED })).status, 400);
    const theirs = await collector.span(SPAN, TRACE_ID);
    assert.equal(theirs.attributes['error.type'], 'invalid_request');
    assert.equal(theirs.attributes['http.response.status_code'], 400);
    assert.equal(theirs.status.code, 0, 'a wrong request is no error of the server');
  });

  it('tell of retries, and of engines that went on with a stream', async () => {
    await using folder = await modelFolder();
    await using double = await writeFakeLlamaServerCommand({
      faults: { firstStarts: 1, after: { tokens: 3, fault: 'end-process' } },
    });
    await using collector = await OtlpCollector.start();
    const dying = { command: double.command, restart: FAST_RESTART };
    const config = { model: await folder.model('tiny'), engine: dying };
    await using served = await traceGateway(config, { endpoint: collector.endpoint });
    const { text } = await served.post(CHAT, STREAM);
    assert.match(text, /data: \[DONE\]\n\n$/);
    const continued = await collector.span(SPAN);
    assert.equal(continued.attributes['llamero.continuations'], 1);
    assert.equal(continued.attributes['llamero.outcome'], 'completed');
    assert.deepEqual(
      continued.events.map(({ name, attributes }) => [name, attributes['llamero.continuation.attempt']]),
      [['stream-continued', 1]],
    );
    const [event] = continued.events;
    assert.ok(event !== undefined && event.at >= continued.start && event.at <= continued.end + 1_000_000n);
    assertPhases(collector, continued, ['queue', 'prefill', 'decode']);

    await using moody = await startFakeLlamaServer({ faults: { refuse: { status: 503 }, firstRequests: 1 } });
    const retry = { retryDelay: 1 };
    await using other = await traceGateway({ engineUrl: moody.url, retry }, { endpoint: collector.endpoint });
    assert.equal((await other.post(CHAT, BODY, { traceparent: SAMPLED })).status, 200);
    const retried = await collector.span(SPAN, TRACE_ID);
    assert.equal(retried.attributes['llamero.retries'], 1);
    assert.deepEqual(
      retried.events.map(({ name, attributes }) => [name, attributes['llamero.retry.attempt']]),
      [['retry', 1]],
    );
  });
});

describe('sampling', { timeout: 60_000 }, () => {
  const cases = [
    { name: 'a caller that does not sample', traceparent: UNSAMPLED, options: {}, flags: '00', spans: 0 },
    {
      name: 'a caller that samples, where no others are',
      traceparent: SAMPLED,
      options: { sampleRatio: 0 },
      flags: '01',
      spans: 3,
    },
    { name: 'nobody is sampled', traceparent: undefined, options: { sampleRatio: 0 }, flags: '00', spans: 0 },
    {
      name: 'a caller that samples is not listened to',
      traceparent: SAMPLED,
      options: { sampleRatio: 0, followParent: false },
      flags: '00',
      spans: 0,
    },
    {
      name: 'a caller that does not sample is not listened to',
      traceparent: UNSAMPLED,
      options: { followParent: false },
      flags: '01',
      spans: 3,
    },
  ];
  for (const { name, traceparent, options, flags, spans } of cases) {
    it(name, async () => {
      await using proxy = await recordingProxy(engine.url);
      await using collector = await OtlpCollector.start();
      await using served = await traceGateway({ engineUrl: proxy.url }, { endpoint: collector.endpoint, ...options });
      const settled = new Promise<string | undefined>((resolve) => {
        served.provider.on('settled', ({ trace }) => resolve(trace?.traceId));
      });
      const headers: Record<string, string> = traceparent === undefined ? {} : { traceparent };
      assert.equal((await served.post(CHAT, BODY, headers)).status, 200);
      const traceId = await settled;
      if (traceparent !== undefined) assert.equal(traceId, TRACE_ID);
      assert.match(String(proxy.seen(CHAT)[0]?.['traceparent']), new RegExp(`^00-${traceId}-[0-9a-f]{16}-${flags}$`));
      await served.traceExport.stop();
      assert.equal(collector.spans.length, spans);
      assert.equal(collector.posts.length, spans === 0 ? 0 : 1);
    });
  }
});

describe('a collector that is away', { timeout: 60_000 }, () => {
  it('costs no request, and does not hold up the end', async () => {
    const collector = await OtlpCollector.start();
    const { endpoint } = collector;
    await collector[Symbol.asyncDispose]();
    await using served = await traceGateway({ engineUrl: engine.url }, { endpoint });
    for (let count = 0; count < 5; count++) assert.equal((await served.post(CHAT, BODY)).status, 200);
    assert.ok((await stopMs(served.traceExport)) < 3000, 'far less than the 10 s of a batch');
  });

  it('that takes connections and never answers is the same', async () => {
    await using collector = await OtlpCollector.start();
    collector.behaviour = 'hangs';
    await using served = await traceGateway({ engineUrl: engine.url }, { endpoint: collector.endpoint });
    for (let count = 0; count < 5; count++) assert.equal((await served.post(CHAT, BODY)).status, 200);
    await collector.until(() => collector.posts.length > 0);
    assert.ok((await stopMs(served.traceExport)) < 3000);
  });

  it('is reported at each change, without what the address may hold', async () => {
    await using collector = await OtlpCollector.start();
    const endpoint = collector.endpoint.replace('//', '//user:password@');
    await using served = await traceGateway({ engineUrl: engine.url }, { endpoint });
    collector.behaviour = 'refuses';
    for (const posts of [1, 2]) {
      await served.post(CHAT, BODY);
      await collector.until(() => collector.posts.length >= posts);
    }
    collector.behaviour = 'takes';
    await served.post(CHAT, BODY);
    await collector.span(SPAN);
    await served.traceExport.stop();
    assert.deepEqual(
      served.reports.map(({ ok }) => ok),
      [false, true],
    );
    assert.match(served.reports[0]?.message ?? '', /^Traces do not reach http:\/\/127\.0\.0\.1:\d+: Bad Request$/);
    assert.match(
      served.reports[1]?.message ?? '',
      /^Traces reach http:\/\/127\.0\.0\.1:\d+ again; \d+ spans were lost\.$/,
    );
  });
});

async function stopMs(traceExport: { stop(): Promise<void> }): Promise<number> {
  const startedAt = performance.now();
  await traceExport.stop();
  return performance.now() - startedAt;
}

function lengthMs(span: ReceivedSpan | undefined): number {
  return span === undefined ? 0 : Number(span.end - span.start) / 1_000_000;
}

/** They lie one behind the other, and fill the span from end to end. */
function assertPhases(collector: OtlpCollector, span: ReceivedSpan, names: readonly string[]): void {
  const phases = collector.childrenOf(span);
  assert.deepEqual(
    phases.map(({ name }) => name),
    names,
  );
  let at = span.start;
  for (const { start, end, traceId, kind } of phases) {
    assert.equal(start, at);
    assert.equal(traceId, span.traceId);
    assert.equal(kind, 1);
    at = end;
  }
  assert.equal(at, span.end);
}
