import type { Client } from '../admission/client.ts';
import type { RateLimitState } from '../admission/rate-limit-policy.ts';
import { type Config, type ConfigInput, parseConfig } from '../config.ts';
import { AttachedEngine } from '../engine/attached-engine.ts';
import type { EngineEndpoint, Replacement } from '../engine/engine-endpoint.ts';
import type { EngineSettings } from '../engine/engine-settings.ts';
import { SupervisedEngine } from '../engine/supervised-engine.ts';
import { LlameroError } from '../errors.ts';
import { type EngineMemoryReading, LlameroEmitter, type LlameroEvents } from '../events.ts';
import type { Exchange, PipelineRequest, ResponseSink } from '../exchange.ts';
import { Pipeline } from '../pipeline.ts';
import { AuditedSink } from './audited-sink.ts';
import { ModelCalls } from './model-calls.ts';
import type { PreparedEngine } from './prepare-launch.ts';
import type { ProviderHooks } from './provider-hooks.ts';
import type { ModelInfo, ProviderStatus } from './provider-status.ts';
import { type ProviderMetrics, RequestCounters } from './request-counters.ts';

/** What {@link LlamaCppProvider.restartEngine} may change; what is left out stays as it is. */
export interface RestartOptions {
  /** Another model: a path, an https address or `user/repo[:quant]`. */
  readonly model?: string;
  /** Other settings of the engine, over the present ones. */
  readonly engine?: ConfigInput['engine'];
  /** How long requests may go on at the old engine, in ms; default `engine.drainTimeout`. */
  readonly drainMs?: number;
}

/**
 * A model served by llama.cpp, as an object. Owns one guarded llama-server, or the connection to one: its start, its restarts, its end, and
 * what is known of it. What can be asked of the model is in {@link ModelCalls}; every call goes through the same pipeline as the
 * gateway's requests.
 *
 * ```ts
 * await using provider = new LlamaCppProvider({ model: './model.gguf' });
 * const { text } = await provider.generate('Hello', { maxTokens: 64 });
 * ```
 */
export class LlamaCppProvider extends ModelCalls {
  /** Everything observable; see {@link LlameroEvents}. */
  readonly events = new LlameroEmitter();
  /** What it runs by; model and engine are those of the latest start that was asked for and succeeded. */
  config: Config;
  readonly #hooks: ProviderHooks;
  readonly #engine: EngineEndpoint;
  readonly #pipeline: Pipeline;
  readonly #counters = new RequestCounters();
  #prepared: PreparedEngine | null = null;
  #memory: EngineMemoryReading | null = null;
  #stopped: Promise<void> | null = null;

  /**
   * @param options the configuration; see `config.ts` for keys and defaults. Nothing is started yet.
   * @throws LlameroError `invalid_options` that names the key.
   */
  constructor(options: ConfigInput, hooks: ProviderHooks = {}) {
    super();
    this.config = parseConfig(options, 'options');
    this.#hooks = hooks;
    const { model, engineUrl } = this.config;
    if (engineUrl !== null) {
      this.#engine = new AttachedEngine({
        url: engineUrl,
        apiKey: this.#env['LLAMERO_ENGINE_API_KEY'],
        connectTimeoutMs: this.config.timeouts.connect,
        events: this.events,
      });
    } else if (model === null) {
      throw new LlameroError('invalid_options', 'model: expected a path, an https address or user/repo, came nothing', {
        param: 'model',
      });
    } else {
      const settings = this.#engineSettings(model, this.config.engine, (prepared) => (this.#prepared = prepared));
      this.#engine = new SupervisedEngine({ ...settings, env: this.#env, events: this.events });
    }
    hooks.tracing?.observe(this.events);
    this.events.on('settled', (request) => this.#counters.settled(request));
    this.events.on('engine-memory', (reading) => (this.#memory = reading));
    this.#pipeline = new Pipeline(this.#engine, this.config, this.events, hooks.tracing);
  }

  /** A provider for a llama-server that somebody else runs. @param url `http://host:port` */
  static connect(
    url: string,
    options: Omit<ConfigInput, 'engineUrl' | 'model'> = {},
    hooks: ProviderHooks = {},
  ): LlamaCppProvider {
    return new LlamaCppProvider({ ...options, engineUrl: url }, hooks);
  }

  /** Starts the engine and waits until it is ready. Optional: the first request does the same. @throws LlameroError `engine_unavailable` with the cause. */
  async start(): Promise<void> {
    this.#assertUsable();
    await this.#engine.start();
  }

  /**
   * Replaces the engine by a fresh one, of the same settings or of others, without losing a request. The new one is ready before
   * the old one stops taking requests, where memory allows; else requests wait meanwhile. Conversations without a running request keep
   * their prompt cache. If the new engine does not start, the old one, or one with the old settings, goes on.
   * Resolves when the new one takes requests; the old one may be finishing some still.
   * @throws LlameroError `invalid_options` that names the key; `engine_unavailable` with the cause: it did not start, or is being
   * replaced already; `invalid_request` for an engine that somebody else runs.
   */
  async restartEngine(options: RestartOptions = {}): Promise<Replacement> {
    this.#assertUsable();
    const { model = this.config.model, engine = {}, drainMs } = options;
    const next = parseConfig({ ...this.config, model, engine: mergedEngine(this.config.engine, engine) }, 'options');
    const isChanged = options.model !== undefined || options.engine !== undefined;
    let prepared = this.#prepared;
    const settings =
      isChanged && model !== null ? this.#engineSettings(model, next.engine, (found) => (prepared = found)) : null;
    const replacement = await this.#pipeline.restartEngine({ cause: 'restart', generation: null, drainMs, settings });
    // What did not work is never shown.
    this.#prepared = prepared;
    if (isChanged) this.config = { ...this.config, model, engine: next.engine };
    return replacement;
  }

  /** Ends running requests and the engine. Resolves when nothing of it is left; idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** The same as {@link stop}, by the name that the requirements report uses. */
  cleanup(): Promise<void> {
    return this.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Resolves when no request is in flight. New ones are still taken. */
  idle(): Promise<void> {
    return this.#pipeline.idle();
  }

  /** Listens to an event; see {@link LlameroEvents}. */
  on<Name extends keyof LlameroEvents>(name: Name, listener: (...payload: LlameroEvents[Name]) => void): this {
    this.events.on(name, listener as never);
    return this;
  }

  /** Stops listening. */
  off<Name extends keyof LlameroEvents>(name: Name, listener: (...payload: LlameroEvents[Name]) => void): this {
    this.events.off(name, listener as never);
    return this;
  }

  getModelInfo(): ModelInfo {
    const { model, facts, inFlight, state } = this.status();
    return {
      model,
      contextLength: facts?.contextLength ?? null,
      slots: facts?.slots ?? null,
      processCount: inFlight,
      state,
    };
  }

  /** Engine, model and load at this moment. */
  status(): ProviderStatus {
    const engine = this.#engine.status();
    return {
      ...engine,
      model: engine.facts?.model ?? this.#prepared?.launch.model.name ?? this.config.model,
      ...this.#pipeline.status(),
      engine: this.#prepared?.binary ?? null,
      memory: this.#memory?.generation === engine.generation ? this.#memory : null,
    };
  }

  /** How much has been done since the provider was made, and how fast; see {@link ProviderMetrics}. */
  getMetrics(): ProviderMetrics {
    return this.#counters.metrics(this.#pipeline.status().inFlight);
  }

  /** The entrance of the gateway: one request, relayed into `sink`. Never throws. */
  exchange(request: PipelineRequest, sink: ResponseSink): Exchange {
    if (this.#stopped === null) {
      const audited = request.stream ? new AuditedSink(sink, request, this.events) : sink;
      return this.#pipeline.send(request, audited);
    }
    sink.onError(new LlameroError('engine_unavailable', 'llamero is shutting down.'));
    return { resume: () => undefined, cancel: () => undefined, queuePosition: () => null };
  }

  /** What a client of the gateway has left of its limits, for answers to requests that never came to {@link exchange}. */
  limitsOf(client: Client): RateLimitState {
    return this.#pipeline.limitsOf(client);
  }

  get #env(): NodeJS.ProcessEnv {
    return this.#hooks.env ?? process.env;
  }

  #engineSettings(
    model: string,
    config: Config['engine'],
    onPrepared: (prepared: PreparedEngine) => void,
  ): EngineSettings {
    const prepare = async (signal: AbortSignal) => {
      // Installing and downloading have large dependencies; loaded here, they do not delay whoever listens first.
      const { prepareLaunch } = await import('./prepare-launch.ts');
      const { onProgress } = this.#hooks;
      const prepared = await prepareLaunch({ model, command: config.command, env: this.#env, signal, onProgress });
      onPrepared(prepared);
      return prepared.launch;
    };
    return { config, prepare };
  }

  async #stop(): Promise<void> {
    await this.#pipeline.stop(new LlameroError('engine_unavailable', 'The provider is being stopped.'));
    await this.#engine.stop();
    this.events.removeAllListeners();
  }

  #assertUsable(): void {
    if (this.#stopped !== null) throw new LlameroError('engine_unavailable', 'The provider has been stopped.');
  }
}

/** Settings over others; those of `restart` one by one. */
function mergedEngine(engine: Config['engine'], changes: NonNullable<ConfigInput['engine']>): ConfigInput['engine'] {
  return { ...engine, ...changes, restart: { ...engine.restart, ...changes.restart } };
}
