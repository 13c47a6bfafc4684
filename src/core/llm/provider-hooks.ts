import type { LlameroEmitter } from '../events.ts';
import type { RequestTracing } from '../exchange.ts';
import type { PreparationProgress } from './prepare-launch.ts';

/** Makes the requests of a provider parts of traces: `requestTracing()` of `llamero/tracing`. */
export interface ProviderTracing extends RequestTracing {
  /** Called once, before the first request; hears of `settled`, and so of the end of each. */
  observe(events: LlameroEmitter): void;
}

/** Beyond the configuration: what only a program can pass. */
export interface ProviderHooks {
  /** Progress of installing llama-server and of downloading a model. */
  readonly onProgress?: (progress: PreparationProgress) => void;
  /** Environment for the search of llama-server and models, and of the engine. Default `process.env`. */
  readonly env?: NodeJS.ProcessEnv;
  /** Default: no traces; the `traceparent` of a caller then goes to the engine as it came. */
  readonly tracing?: ProviderTracing | null;
}
