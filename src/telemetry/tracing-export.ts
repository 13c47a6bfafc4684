import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';
import { LlameroError } from '../core/errors.ts';
import { type RequestSpans, requestTracing } from './tracing.ts';

/** How long the last spans may take at the end, in ms; short where the collector did not answer before. */
const FLUSH_MS = 1500;
const FLUSH_TO_DEAD_MS = 250;
/** Of spans: beyond that, the newest are dropped. One request makes up to four. */
const QUEUE_LENGTH = 2048;
const BATCH_LENGTH = 512;
/** One batch, in ms: all tries at the collector, and behind it the processor's own patience. */
const EXPORT_TIMEOUT_MS = 10_000;
const BATCH_TIMEOUT_MS = 15_000;

/** Which traces go where; see `telemetry.traces` of the configuration. */
export interface TraceExportOptions {
  /** OTLP over HTTP with protobuf, whole address: `http://localhost:4318/v1/traces`. */
  readonly endpoint: string;
  /** Part of the traces that begin here and are sampled, 0 to 1. */
  readonly sampleRatio: number;
  /** Whether the sampled flag of a caller's `traceparent` decides for its requests. */
  readonly followParent: boolean;
  /** null: `llamero`, or what OTEL_RESOURCE_ATTRIBUTES says. */
  readonly serviceName: string | null;
  /** Between two batches, in ms. */
  readonly exportInterval: number;
  /** Version of llamero. */
  readonly version: string;
  /** The collector cannot be reached (`ok: false`), or can be again; at each change. */
  readonly onReport: (report: TraceExportReport) => void;
}

/** News of the collector. */
export interface TraceExportReport {
  readonly ok: boolean;
  readonly message: string;
}

/** Spans on their way to a collector. */
export interface TraceExport {
  readonly tracing: RequestSpans;
  /** Sends what is left, within 1.5 s, and ends. Never throws. */
  stop(): Promise<void>;
}

/**
 * Loads the SDK of OpenTelemetry and exports the spans of requests in the background, in batches. A collector that is away costs
 * spans, never a request.
 * @throws LlameroError `invalid_options` when the SDK is not installed; the message says what to install.
 */
export async function startTraceExport(options: TraceExportOptions): Promise<TraceExport> {
  const [sdk, { OTLPTraceExporter }, resources] = await loadSdk();
  const exporter = new ReportingExporter(
    new OTLPTraceExporter({ url: options.endpoint, timeoutMillis: EXPORT_TIMEOUT_MS }),
    options,
  );
  const root = new sdk.TraceIdRatioBasedSampler(options.sampleRatio);
  const { serviceName, version } = options;
  const detected = resources.detectResources({
    detectors: [resources.serviceInstanceIdDetector, resources.resourceAttributesEnvDetector],
  });
  const tracerProvider = new sdk.TracerProvider({
    sampler: options.followParent ? new sdk.ParentBasedSampler({ root }) : root,
    resource: resources
      .defaultResource()
      .merge(resources.resourceFromAttributes({ 'service.name': 'llamero', 'service.version': version }))
      .merge(detected)
      .merge(resources.resourceFromAttributes(serviceName === null ? {} : { 'service.name': serviceName })),
    spanProcessors: [
      new sdk.BatchSpanProcessor({
        exporter,
        maxQueueSize: QUEUE_LENGTH,
        maxExportBatchSize: BATCH_LENGTH,
        scheduledDelayMillis: options.exportInterval,
        exportTimeoutMillis: BATCH_TIMEOUT_MS,
      }),
    ],
  });
  return {
    tracing: requestTracing({ tracerProvider, side: 'server', version }),
    stop: () => within(exporter.isFailing ? FLUSH_TO_DEAD_MS : FLUSH_MS, tracerProvider.shutdown()),
  };
}

/** Tells of each change: the collector is lost, and is there again. */
class ReportingExporter implements SpanExporter {
  readonly #exporter: SpanExporter;
  readonly #endpoint: string;
  readonly #onReport: TraceExportOptions['onReport'];
  #lostSpans = 0;

  constructor(exporter: SpanExporter, { endpoint, onReport }: TraceExportOptions) {
    this.#exporter = exporter;
    // Without what may be a password.
    this.#endpoint = new URL(endpoint).origin;
    this.#onReport = onReport;
  }

  get isFailing(): boolean {
    return this.#lostSpans > 0;
  }

  export(spans: ReadableSpan[], done: Parameters<SpanExporter['export']>[1]): void {
    this.#exporter.export(spans, (result) => {
      if (result.error === undefined) this.#delivered();
      else this.#lost(spans.length, result.error);
      done(result);
    });
  }

  shutdown(): Promise<void> {
    return this.#exporter.shutdown();
  }

  async forceFlush(): Promise<void> {
    await this.#exporter.forceFlush?.();
  }

  #delivered(): void {
    if (!this.isFailing) return;
    const message = `Traces reach ${this.#endpoint} again; ${this.#lostSpans} spans were lost.`;
    this.#lostSpans = 0;
    this.#onReport({ ok: true, message });
  }

  #lost(spans: number, error: Error): void {
    const isFirst = !this.isFailing;
    this.#lostSpans += spans;
    if (!isFirst) return;
    // An AggregateError, of several addresses tried, has no message of its own.
    const reason = error.message || ('code' in error ? String(error.code) : error.name);
    this.#onReport({ ok: false, message: `Traces do not reach ${this.#endpoint}: ${reason}` });
  }
}

/** Waits for it, but no longer than that. How it fails has been reported before. */
async function within(limitMs: number, work: Promise<void>): Promise<void> {
  const { promise: over, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, limitMs);
  await Promise.race([work.then(resolve, resolve), over]);
  clearTimeout(timer);
}

/** The three packages are optional, and loaded nowhere else. */
async function loadSdk() {
  const loading = [
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/exporter-trace-otlp-proto'),
    import('@opentelemetry/resources'),
  ] as const;
  try {
    return await Promise.all(loading);
  } catch (error) {
    throw new LlameroError(
      'invalid_options',
      'Traces are configured (telemetry.traces.endpoint or OTEL_EXPORTER_OTLP_ENDPOINT), but the SDK of OpenTelemetry cannot be loaded. ' +
        'Install it beside llamero: npm install @opentelemetry/sdk-trace@3 @opentelemetry/exporter-trace-otlp-proto@0 @opentelemetry/resources@3 ' +
        '- or turn traces off with OTEL_TRACES_EXPORTER=none.',
      { param: 'telemetry.traces.endpoint', cause: error },
    );
  }
}
