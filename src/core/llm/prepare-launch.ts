import type { EngineLaunch } from '../engine/engine-run.ts';
import type { EngineBinary } from '../engine/install/engine-binary.ts';
import { obtainEngine } from '../engine/install/install-engine.ts';
import { resolveModel } from '../engine/model/resolve-model.ts';

/** What is being installed or downloaded before the first start. */
export interface PreparationProgress {
  readonly step: string;
  /** 0 to 1; null where it cannot be told. */
  readonly fraction: number | null;
  /** One line for people. */
  readonly message: string;
}

export interface PrepareOptions {
  readonly model: string;
  /** `engine.command` of the configuration. */
  readonly command: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  readonly onProgress?: ((progress: PreparationProgress) => void) | undefined;
}

/** Everything that a start needs. */
export interface PreparedEngine {
  readonly binary: EngineBinary;
  readonly launch: EngineLaunch;
}

/**
 * Finds or installs llama-server, finds or downloads the model.
 * @throws LlameroError `install_failed`, `invalid_options`, `model_not_found`, or the signal's reason.
 */
export async function prepareLaunch(options: PrepareOptions): Promise<PreparedEngine> {
  const { command, env, signal, onProgress } = options;
  // The model first: a mistyped path is told at once, not after an installation of minutes.
  const model = await resolveModel({ reference: options.model, env, signal, onProgress });
  const binary = await obtainEngine({ command, env, signal, onProgress });
  return {
    binary,
    launch: { command: binary.path, model: { path: model.path, name: model.name, poolingType: model.poolingType } },
  };
}
