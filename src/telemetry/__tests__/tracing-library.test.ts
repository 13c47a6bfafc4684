import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { after, before, describe, it } from 'node:test';
import { type Context, context, type ContextManager, ROOT_CONTEXT, SpanKind, trace } from '@opentelemetry/api';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { LlamaCppProvider } from '../../core/llm/llama-cpp-provider.ts';
import { type FakeLlamaServer, startFakeLlamaServer } from '../../testing/index.ts';
import { requestTracing } from '../tracing.ts';
import { recordingProxy } from './recording-proxy.ts';

/** What a program registers that traces itself. */
class AsyncContexts implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>();

  active(): Context {
    return this.#storage.getStore() ?? ROOT_CONTEXT;
  }

  with<Arguments extends unknown[], Receiver, Result>(
    active: Context,
    work: (this: Receiver, ...args: Arguments) => Result,
    receiver?: Receiver,
    ...args: Arguments
  ): Result {
    return this.#storage.run(active, () => work.apply(receiver as Receiver, args));
  }

  bind<Target>(_context: Context, target: Target): Target {
    return target;
  }

  enable(): this {
    return this;
  }

  disable(): this {
    return this;
  }
}

describe('traces of a program that uses the library', { timeout: 60_000 }, () => {
  const exporter = new InMemorySpanExporter();
  const tracerProvider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  let engine: FakeLlamaServer;
  let proxy: Awaited<ReturnType<typeof recordingProxy>>;
  before(async () => {
    engine = await startFakeLlamaServer();
    proxy = await recordingProxy(engine.url);
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await engine.stop();
    context.disable();
    trace.disable();
  });

  it('need a registered provider of spans', async () => {
    await using provider = LlamaCppProvider.connect(proxy.url, {}, { tracing: requestTracing() });
    const settled = new Promise((resolve) => provider.on('settled', resolve));
    await provider.generate('Hello', { maxTokens: 2 });
    assert.equal(((await settled) as { trace: unknown }).trace, null);
    assert.equal(proxy.seen('/completion').at(-1)?.['traceparent'], undefined);
  });

  it('stand below the active span', async () => {
    trace.setGlobalTracerProvider(tracerProvider);
    context.setGlobalContextManager(new AsyncContexts());
    await using provider = LlamaCppProvider.connect(proxy.url, {}, { tracing: requestTracing() });
    const outer = await trace.getTracer('my-program').startActiveSpan('answer', async (span) => {
      await Promise.resolve();
      await provider.generate('Hello', { maxTokens: 2 });
      span.end();
      return span.spanContext();
    });
    const spans = exporter.getFinishedSpans();
    const request = spans.find(({ name }) => name === 'text_completion fake.gguf');
    assert.equal(request?.kind, SpanKind.CLIENT);
    assert.equal(request.parentSpanContext?.spanId, outer.spanId);
    const { traceId, spanId } = request.spanContext();
    assert.equal(traceId, outer.traceId);
    assert.equal(request.instrumentationScope.name, 'llamero');
    assert.deepEqual(
      spans.filter(({ parentSpanContext }) => parentSpanContext?.spanId === spanId).map(({ name }) => name),
      ['queue', 'prefill', 'decode'],
    );
    assert.equal(proxy.seen('/completion').at(-1)?.['traceparent'], `00-${traceId}-${spanId}-01`);
  });

  it('end with requests that the end of the provider cancels', async () => {
    exporter.reset();
    const tracing = requestTracing({ tracerProvider });
    const provider = LlamaCppProvider.connect(proxy.url, {}, { tracing });
    const stream = provider.stream('Hello', { maxTokens: 1000 });
    await stream.next();
    await provider.stop();
    await assert.rejects(async () => {
      while ((await stream.next()).done !== true);
    });
    const span = exporter.getFinishedSpans().find(({ kind }) => kind === SpanKind.CLIENT);
    assert.equal(span?.attributes['error.type'], 'engine_unavailable');
  });
});
