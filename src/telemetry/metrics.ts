import type { LlameroEmitter, SettledRequest } from '../core/events.ts';
import { CappedLabels } from './capped-labels.ts';
import { countEvents } from './event-metrics.ts';
import { GenAiMetrics } from './gen-ai-metrics.ts';
import { GEN_AI_METRICS, METRICS } from './metric-catalogue.ts';
import { MetricSeries } from './metric-series.ts';
import { RequestMetrics } from './request-metrics.ts';
import { type LabelledStatus, type ObservedStatus, showStatus } from './status-metrics.ts';

/** So many models are told apart; the requests of all others count as those of the model `other`. */
export const MOST_MODELS = 50;

/** What is measured: a `LlamaCppProvider`, or whatever emits the same events and has the same status. */
export interface MetricsSource {
  readonly events: LlameroEmitter;
  status(): ObservedStatus;
}

/** Bodies of requests, as a gateway holds them. */
export interface ObservedBodies {
  readonly heldBodiesBytes: number;
  readonly heldBodiesLimitBytes: number;
}

/** Options of {@link createMetrics}. */
export interface MetricsOptions {
  /** The names of the OpenTelemetry conventions for generative AI as well (`gen_ai_*`). Default false: they are in development there. */
  readonly genAi?: boolean;
  /** What of the Node process itself prom-client tells (`process_*`, `nodejs_*`). Default true. */
  readonly process?: boolean;
  /** Version of llamero, for `llamero_build_info`. */
  readonly version?: string;
}

/** Everything that is counted, and its text for Prometheus. */
export interface Metrics extends Disposable {
  /**
   * Counts what that provider does from now on.
   * @param engine label of its engine. Default: 1, 2, … in the order in which they were added.
   */
  add(source: MetricsSource, engine?: string): this;
  /**
   * Shows the bodies that a gateway holds, which does this itself with the metrics that it is given.
   * @returns ends it.
   */
  showBodies(bodies: ObservedBodies): () => void;
  /** All metrics in Prometheus' text format. */
  text(): Promise<string>;
  /** Content type of {@link text}. */
  readonly contentType: string;
  /** Counts no more; what has been counted stays readable. Idempotent. */
  stop(): void;
}

/**
 * Metrics of one or more providers. Costs about a microsecond per request and nothing per token; prom-client is loaded with the
 * first {@link Metrics.text}.
 *
 * ```ts
 * const metrics = createMetrics(provider);
 * const gateway = createGateway({ provider, metrics });    // GET /metrics; the same without `metrics`
 * console.log(await metrics.text());
 * ```
 */
export function createMetrics(source?: MetricsSource, options: MetricsOptions = {}): Metrics {
  const metrics = new CollectedMetrics(options);
  return source === undefined ? metrics : metrics.add(source);
}

class CollectedMetrics implements Metrics {
  // The value of prom-client's Registry.PROMETHEUS_CONTENT_TYPE, known before it is loaded.
  readonly contentType = 'text/plain; version=0.0.4; charset=utf-8';
  readonly #options: MetricsOptions;
  readonly #series = new MetricSeries(METRICS);
  readonly #genAiSeries = new MetricSeries(GEN_AI_METRICS);
  readonly #requests: RequestMetrics;
  readonly #genAi: GenAiMetrics | null;
  readonly #sources: { readonly source: MetricsSource; readonly engine: string; readonly stop: () => void }[] = [];
  readonly #bodies = new Set<ObservedBodies>();
  /** Of the scrape that is going on. */
  #statuses: readonly LabelledStatus[] = [];
  #writing: Promise<() => Promise<string>> | null = null;

  constructor(options: MetricsOptions) {
    this.#options = options;
    const models = new CappedLabels(MOST_MODELS);
    this.#requests = new RequestMetrics(this.#series, models);
    this.#genAi = options.genAi === true ? new GenAiMetrics(this.#genAiSeries, models) : null;
    const build = { version: options.version ?? '', node: process.version };
    this.#series.readAtScrape('llamero_build_info', () => [[build, 1]]);
    showStatus(this.#series, () => this.#statuses);
    this.#showSum('llamero_request_body_bytes', ({ heldBodiesBytes }) => heldBodiesBytes);
    this.#showSum('llamero_request_body_limit_bytes', ({ heldBodiesLimitBytes }) => heldBodiesLimitBytes);
  }

  add(source: MetricsSource, engine = String(this.#sources.length + 1)): this {
    const { events } = source;
    const onSettled = (request: SettledRequest) => this.#settled(request);
    events.on('settled', onSettled);
    const stopCounting = countEvents(this.#series, events, engine);
    const stop = () => {
      events.off('settled', onSettled);
      stopCounting();
    };
    this.#sources.push({ source, engine, stop });
    return this;
  }

  showBodies(bodies: ObservedBodies): () => void {
    this.#bodies.add(bodies);
    return () => this.#bodies.delete(bodies);
  }

  async text(): Promise<string> {
    const write = await (this.#writing ??= this.#writer());
    this.#statuses = this.#sources.map(({ source, engine }) => ({ engine, status: source.status() }));
    return write();
  }

  stop(): void {
    for (const source of this.#sources) source.stop();
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  #showSum(name: keyof typeof METRICS, read: (bodies: ObservedBodies) => number): void {
    this.#series.readAtScrape(name, () => {
      if (this.#bodies.size === 0) return [];
      return [[{}, Array.from(this.#bodies, read).reduce((total, bytes) => total + bytes, 0)]];
    });
  }

  #settled(request: SettledRequest): void {
    this.#requests.settled(request);
    this.#genAi?.settled(request);
  }

  async #writer(): Promise<() => Promise<string>> {
    // It takes 20 ms to load, which nobody has to wait for who is not scraped.
    const { Exposition } = await import('./exposition.ts');
    const exposition = new Exposition();
    exposition.add(this.#series);
    if (this.#genAi !== null) exposition.add(this.#genAiSeries);
    if (this.#options.process === false) return () => exposition.text();
    const { processMetrics } = await import('./process-metrics.ts');
    const ofProcess = processMetrics();
    return async () => `${await exposition.text()}\n${await ofProcess.metrics()}`;
  }
}
