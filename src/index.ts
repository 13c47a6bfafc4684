export { parseConfig, configJsonSchema } from './core/config.ts';
export type { Config, ConfigInput } from './core/config.ts';
export { ERROR_CODES, LlameroError } from './core/errors.ts';
export type { ErrorCode } from './core/errors.ts';
export type {
  AlertChange,
  AlertReport,
  EngineStateName,
  ExitCauseName,
  LlameroEvents,
  TokenCounts,
} from './core/events.ts';
export { LlamaCppProvider } from './core/llm/llama-cpp-provider.ts';
export type { ProviderMetrics } from './core/llm/request-counters.ts';
export type { RestartOptions } from './core/llm/llama-cpp-provider.ts';
export type { ProviderHooks, ProviderTracing } from './core/llm/provider-hooks.ts';
export type { ModelInfo, ProviderStatus } from './core/llm/provider-status.ts';
export type { Replacement } from './core/engine/engine-endpoint.ts';
export type { ChatAnswer, Generation, StreamPart, Timings } from './core/llm/answers.ts';
export type {
  CallOptions,
  ChatMessage,
  ChatOptions,
  GenerateOptions,
  RerankOptions,
} from './core/llm/generate-options.ts';
export type { ClientOptions } from './core/admission/client-options.ts';
export { createMetrics } from './telemetry/metrics.ts';
export type { Metrics, MetricsOptions, MetricsSource } from './telemetry/metrics.ts';
export { watchAlerts } from './telemetry/alerts/watch-alerts.ts';
export type { AlertWatch, AlertWatchOptions } from './telemetry/alerts/watch-alerts.ts';
export { createGateway } from './gateway/gateway.ts';
export type { Gateway } from './gateway/gateway.ts';
