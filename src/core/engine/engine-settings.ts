import type { EngineConfig } from '../config.ts';
import type { EngineLaunch } from './engine-run.ts';

/** What an engine is to run, and how. A planned restart may bring others. */
export interface EngineSettings {
  readonly config: EngineConfig;
  /** Finds, and if need be installs, llama-server and model. Called until it succeeded once. */
  readonly prepare: (signal: AbortSignal) => Promise<EngineLaunch>;
}
