import { ERROR_CODES } from '../core/errors.ts';
import type { RequestOutcome, SettledRequest } from '../core/events.ts';
import type { CappedLabels } from './capped-labels.ts';
import type { MetricName } from './metric-catalogue.ts';
import type { Count, Distribution, MetricSeries } from './metric-series.ts';

const OUTCOMES = ['completed', 'failed', 'cancelled'] as const satisfies readonly RequestOutcome[];
/** How streams end that had begun to answer; other causes are rare. */
const STREAM_ENDS = ['client_gone', 'stream_interrupted', 'deadline_exceeded', 'engine_error', 'engine_bad_response'];

/** The series of one model that its requests move. */
interface ModelSeries {
  readonly name: string;
  readonly firstToken: Distribution;
  readonly perToken: Distribution;
  readonly promptTokens: Count;
  readonly cachedTokens: Count;
  readonly completionTokens: Count;
  readonly outcomes: Record<RequestOutcome, Map<string, Count>>;
}

/**
 * Counts requests as they end. On the path of every request: its series are found by model and route, and moved without
 * making anything.
 */
export class RequestMetrics {
  readonly #series: MetricSeries<MetricName>;
  readonly #models: CappedLabels;
  readonly #byModel = new Map<string, ModelSeries>();
  readonly #durations = new Map<string, Distribution>();
  readonly #queueWait: Distribution;
  readonly #prefill: Distribution;
  readonly #overhead: Distribution;
  readonly #completedStreams: Count;

  constructor(series: MetricSeries<MetricName>, models: CappedLabels) {
    this.#series = series;
    this.#models = models;
    this.#queueWait = series.distribution('llamero_queue_wait_seconds');
    this.#prefill = series.distribution('llamero_prefill_seconds');
    this.#overhead = series.distribution('llamero_overhead_seconds');
    // Alerts and rates look at increases: what only begins to exist with its first event would hide that one.
    for (const [code, { status }] of Object.entries(ERROR_CODES)) {
      if (code === 'install_failed' || code === 'cancelled') continue;
      series.count('llamero_request_errors_total', { code, fault: faultOf(status) });
    }
    for (const cause of STREAM_ENDS) series.count('llamero_stream_ends_total', { cause });
    for (const result of OUTCOMES) series.count('llamero_continued_streams_total', { result });
    this.#completedStreams = series.count('llamero_stream_ends_total', { cause: 'completed' });
  }

  /** A request has ended. */
  settled(request: SettledRequest): void {
    const { route, outcome, stream, headSent, continuations } = request;
    const model = this.#modelSeries(request.model);
    this.#count(model, route, outcome).value += 1;
    this.#duration(route).observe(request.totalMs / 1000);
    this.#queueWait.observe(request.queueMs / 1000);
    this.#overhead.observe(request.ownMs / 1000);
    this.#firstToken(request, model);
    this.#tokens(request, model);
    if (outcome !== 'completed') this.#ended(request);
    else if (stream && headSent) this.#completedStreams.value += 1;
    if (continuations > 0) this.#series.count('llamero_continued_streams_total', { result: outcome }).value += 1;
  }

  #firstToken(request: SettledRequest, model: ModelSeries): void {
    const { prefillMs, firstTokenMs, decodeMs } = request;
    if (prefillMs === null || firstTokenMs === null || decodeMs === null) return;
    this.#prefill.observe(prefillMs / 1000);
    model.firstToken.observe(firstTokenMs / 1000);
    const furtherTokens = completionTokens(request) - 1;
    if (furtherTokens > 0) model.perToken.observe(decodeMs / furtherTokens / 1000);
  }

  #tokens(request: SettledRequest, model: ModelSeries): void {
    const { usage } = request;
    model.completionTokens.value += completionTokens(request);
    if (usage === null) return;
    // Also where an engine counts what it found in its cache as no part of the prompt.
    model.promptTokens.value += Math.max(0, usage.promptTokens - usage.cachedTokens);
    model.cachedTokens.value += usage.cachedTokens;
  }

  /** It failed, or was cancelled: rare enough to look its series up. */
  #ended({ outcome, error, stream, headSent }: SettledRequest): void {
    const code = error?.code ?? 'internal_error';
    if (outcome === 'failed') {
      const fault = faultOf(error?.status ?? 500);
      this.#series.count('llamero_request_errors_total', { code, fault }).value += 1;
    }
    if (stream && headSent) {
      const cause = outcome === 'cancelled' ? 'client_gone' : code;
      this.#series.count('llamero_stream_ends_total', { cause }).value += 1;
    }
    if (code === 'rate_limit_exceeded') {
      const { pool, limit } = error?.details ?? {};
      const labels = { pool: nameOr(pool, 'unknown'), limit: nameOr(limit, 'unknown') };
      this.#series.count('llamero_rate_limit_refusals_total', labels).value += 1;
    }
  }

  #duration(route: string): Distribution {
    let duration = this.#durations.get(route);
    if (duration === undefined) {
      duration = this.#series.distribution('llamero_request_duration_seconds', { route });
      this.#durations.set(route, duration);
    }
    return duration;
  }

  #modelSeries(name: string | null): ModelSeries {
    const model = this.#models.of(name);
    let made = this.#byModel.get(model);
    if (made === undefined) {
      const series = this.#series;
      made = {
        name: model,
        firstToken: series.distribution('llamero_time_to_first_token_seconds', { model }),
        perToken: series.distribution('llamero_time_per_output_token_seconds', { model }),
        promptTokens: series.count('llamero_tokens_total', { model, kind: 'prompt' }),
        cachedTokens: series.count('llamero_tokens_total', { model, kind: 'cached' }),
        completionTokens: series.count('llamero_tokens_total', { model, kind: 'completion' }),
        outcomes: { completed: new Map(), failed: new Map(), cancelled: new Map() },
      };
      this.#byModel.set(model, made);
    }
    return made;
  }

  #count({ name, outcomes }: ModelSeries, route: string, outcome: RequestOutcome): Count {
    let count = outcomes[outcome].get(route);
    if (count === undefined) {
      count = this.#series.count('llamero_requests_total', { route, model: name, outcome });
      outcomes[outcome].set(route, count);
    }
    return count;
  }
}

/** Whose fault an error is, by the status that its caller gets. */
export function faultOf(status: number): 'client' | 'server' {
  return status < 500 ? 'client' : 'server';
}

function nameOr(value: unknown, otherwise: string): string {
  return typeof value === 'string' ? value : otherwise;
}

/** What the engine reported; for a stream that did not get that far, the tokens that came. */
function completionTokens({ usage, generatedTokens }: Pick<SettledRequest, 'usage' | 'generatedTokens'>): number {
  return usage?.completionTokens ?? generatedTokens;
}
