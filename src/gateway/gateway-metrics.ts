import type { Config } from '../core/config.ts';
import { LlameroEmitter } from '../core/events.ts';
import { createMetrics, type Metrics, type MetricsSource } from '../telemetry/metrics.ts';
import type { GatewayBackend } from './backend.ts';
import { packageVersion } from './package-version.ts';

/** Metrics of a provider, from now on; null for a backend that tells of nothing, such as one of a test. */
export function metricsOfProvider(provider: GatewayBackend, { telemetry }: Config): Metrics | null {
  if (!isSource(provider)) return null;
  return createMetrics(provider, { genAi: telemetry.genAi, version: packageVersion() });
}

function isSource(provider: GatewayBackend): provider is GatewayBackend & MetricsSource {
  return provider.events instanceof LlameroEmitter && 'fairness' in provider.status();
}
