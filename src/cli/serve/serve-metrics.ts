import type { Config } from '../../core/config.ts';
import { packageVersion } from '../../gateway/package-version.ts';
import { createMetrics, type Metrics, type MetricsSource } from '../../telemetry/metrics.ts';

/** How OpenTelemetry's instrumentations are asked for conventions that are still in development. */
const LATEST_GEN_AI = 'gen_ai_latest_experimental';

/**
 * Metrics for `/metrics` of `llamero serve`. The `gen_ai_*` ones are among them where `telemetry.genAi` says so, or
 * `OTEL_SEMCONV_STABILITY_OPT_IN` names `gen_ai_latest_experimental`.
 */
export function serveMetrics(provider: MetricsSource, config: Config, env: NodeJS.ProcessEnv): Metrics {
  const optedIn = (env['OTEL_SEMCONV_STABILITY_OPT_IN'] ?? '').split(',').map((name) => name.trim());
  const genAi = config.telemetry.genAi || optedIn.includes(LATEST_GEN_AI);
  return createMetrics(provider, { genAi, version: packageVersion() });
}
