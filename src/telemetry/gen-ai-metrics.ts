import type { SettledRequest } from '../core/events.ts';
import type { CappedLabels } from './capped-labels.ts';
import { GEN_AI_OPERATIONS, GEN_AI_PROVIDER } from './gen-ai-operations.ts';
import type { GenAiMetricName } from './metric-catalogue.ts';
import type { LabelValues, MetricSeries } from './metric-series.ts';

/** Counts requests once more, under the names of the OpenTelemetry conventions. */
export class GenAiMetrics {
  readonly #series: MetricSeries<GenAiMetricName>;
  readonly #models: CappedLabels;

  constructor(series: MetricSeries<GenAiMetricName>, models: CappedLabels) {
    this.#series = series;
    this.#models = models;
  }

  /** A request has ended. */
  settled(request: SettledRequest): void {
    const operation = GEN_AI_OPERATIONS[request.route];
    if (operation === undefined) return;
    const labels = {
      gen_ai_operation_name: operation,
      gen_ai_provider_name: GEN_AI_PROVIDER,
      gen_ai_request_model: this.#models.of(request.model),
    };
    const { error, outcome, firstTokenMs, decodeMs, usage, totalMs } = request;
    const errorType: LabelValues = error === null ? {} : { error_type: error.code };
    this.#observe('gen_ai_server_request_duration_seconds', { ...labels, ...errorType }, totalMs / 1000);
    if (outcome !== 'completed') return;
    if (firstTokenMs !== null && decodeMs !== null) {
      this.#observe('gen_ai_server_time_to_first_token_seconds', labels, firstTokenMs / 1000);
      const furtherTokens = (usage?.completionTokens ?? 0) - 1;
      if (furtherTokens > 0) {
        this.#observe('gen_ai_server_time_per_output_token_seconds', labels, decodeMs / furtherTokens / 1000);
      }
    }
    if (usage === null) return;
    this.#observe('gen_ai_client_token_usage', { ...labels, gen_ai_token_type: 'input' }, usage.promptTokens);
    this.#observe('gen_ai_client_token_usage', { ...labels, gen_ai_token_type: 'output' }, usage.completionTokens);
  }

  #observe(name: GenAiMetricName, labels: LabelValues, value: number): void {
    this.#series.distribution(name, labels).observe(value);
  }
}
