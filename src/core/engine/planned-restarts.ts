import { LlameroError } from '../errors.ts';
import type { LlameroEmitter } from '../events.ts';
import type { Replacement, ReplacementPlan } from './engine-endpoint.ts';
import type { EngineSettings } from './engine-settings.ts';
import type { ExitCause } from './exit-cause.ts';
import { PlannedRestart } from './planned-restart.ts';
import { preparedOnce } from './prepared-once.ts';
import { replaceEngine, type RestartStage } from './replace-engine.ts';
import type { SupervisedGeneration } from './supervised-generation.ts';

/** What {@link PlannedRestarts} are made of. */
export interface PlannedRestartsOptions {
  readonly settings: EngineSettings;
  readonly env: NodeJS.ProcessEnv;
  readonly events: LlameroEmitter;
}

/** The planned restart that is under way, if one is; and, as it may bring others, the settings that engines are started with. */
export class PlannedRestarts {
  readonly #env: NodeJS.ProcessEnv;
  readonly #events: LlameroEmitter;
  #settings: EngineSettings;
  /** What the next one is to be started with, until that has shown that it works, or that it does not. */
  #candidate: EngineSettings | null = null;
  #restart: PlannedRestart | null = null;

  constructor({ settings, env, events }: PlannedRestartsOptions) {
    this.#env = env;
    this.#events = events;
    this.#settings = this.#preparedOnce(settings);
  }

  /** What the latest engine that took requests was started with. */
  get settings(): EngineSettings {
    return this.#settings;
  }

  /** What the next engine is started with. */
  get nextSettings(): EngineSettings {
    return this.#candidate ?? this.#settings;
  }

  /** @throws LlameroError `engine_unavailable` with the cause. */
  async replace(plan: ReplacementPlan, stage: RestartStage): Promise<Replacement> {
    if (this.#restart !== null) {
      const message = 'The engine is being replaced already.';
      throw new LlameroError('engine_unavailable', message, { retryAfterMs: 1000 });
    }
    const restart = new PlannedRestart(plan, this.#settings.config.drainTimeout, this.#events);
    this.#restart = restart;
    this.#candidate = plan.settings === null ? null : this.#preparedOnce(plan.settings);
    try {
      return restart.succeeded(await replaceEngine(stage, restart));
    } catch (error) {
      throw restart.failed(error);
    } finally {
      this.#restart = null;
      this.#candidate = null;
      await restart.end();
    }
  }

  /** The engine is stopped for good. */
  abort(reason: LlameroError): void {
    this.#restart?.abort(reason);
  }

  /** An engine takes requests: its settings have shown that they work. */
  noteReady({ settings }: SupervisedGeneration): void {
    this.#settings = settings;
    if (this.#candidate === settings) this.#candidate = null;
  }

  /** An engine has ended; one with new settings before they had shown that they work. */
  noteEnd({ settings }: SupervisedGeneration, cause: ExitCause): void {
    if (settings !== this.#candidate) return;
    this.#candidate = null;
    if (this.#restart !== null) this.#restart.candidateCause = cause;
  }

  /** Gives the conversations of one engine to the one that takes its place; null where there is nothing to give. */
  carry(from: SupervisedGeneration, to: SupervisedGeneration): Promise<void> | null {
    return this.#restart?.carry(from, to) ?? null;
  }

  /** Gives an engine the conversations that were saved of one that is no more; null where there is nothing to give. */
  restore(to: SupervisedGeneration): Promise<void> | null {
    return this.#restart?.restore(to) ?? null;
  }

  /** When that engine has no requests any more, or has had its time; null where nothing is waited for. */
  drained(engine: SupervisedGeneration): Promise<void> | null {
    return this.#restart?.drained(engine) ?? null;
  }

  #preparedOnce({ config, prepare }: EngineSettings): EngineSettings {
    return { config, prepare: preparedOnce(prepare, this.#env) };
  }
}
