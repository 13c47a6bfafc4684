import type { EngineStatus } from '../engine/engine-endpoint.ts';
import type { EngineMemoryReading } from '../events.ts';
import type { PipelineStatus } from '../pipeline.ts';
import type { PreparedEngine } from './prepare-launch.ts';

/** What the provider is doing, for display. */
export interface ProviderStatus extends EngineStatus, PipelineStatus {
  /** Name of the model, as far as it is known. */
  readonly model: string | null;
  /** The llama-server in use; null before it was found and for an attached one. */
  readonly engine: PreparedEngine['binary'] | null;
  /** Memory of the present engine as it was last looked at; null where it is not known: see the event `engine-memory`. */
  readonly memory: EngineMemoryReading | null;
}

/** What `getModelInfo()` of a provider tells. */
export interface ModelInfo {
  readonly model: string | null;
  /** Tokens per slot; null until the engine was ready once. */
  readonly contextLength: number | null;
  readonly slots: number | null;
  /** Requests in flight. */
  readonly processCount: number;
  readonly state: EngineStatus['state'];
}
