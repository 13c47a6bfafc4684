import type { EngineConfig } from '../config.ts';
import { LlameroError } from '../errors.ts';
import type { LlameroEmitter } from '../events.ts';
import type { OverlapFacts } from './decide-overlap.ts';
import type {
  AlongsideEngine,
  EngineEndpoint,
  EngineStatus,
  ReadyEngine,
  Replacement,
  ReplacementPlan,
} from './engine-endpoint.ts';
import type { EngineSettings } from './engine-settings.ts';
import {
  type EngineEffect,
  type EngineEvent,
  type EngineState,
  INITIAL_ENGINE_STATE,
  type PlannedCauseName,
} from './engine-state.ts';
import type { ExitCause } from './exit-cause.ts';
import { GenerationEnds } from './generation-ends.ts';
import { transition } from './lifecycle.ts';
import { PlannedRestart } from './planned-restart.ts';
import { preparedOnce } from './prepared-once.ts';
import { ReadinessWaiters } from './readiness-waiters.ts';
import { replaceEngine, type RestartStage } from './replace-engine.ts';
import { SupervisedGeneration } from './supervised-generation.ts';
import { hungCause, lossBy, plannedCause, unavailable } from './unavailable.ts';
import type { VitalSigns } from './vital-signs.ts';

/** The exit of a process is known a moment after its sockets have closed. */
const EXPLAIN_LOSS_MS = 500;

export interface SupervisedEngineOptions extends EngineSettings {
  readonly env: NodeJS.ProcessEnv;
  readonly events: LlameroEmitter;
  /** Whether a second engine fits beside the present one; default `mayOverlap` of `decide-overlap.ts`. */
  readonly mayOverlap?: (facts: OverlapFacts) => boolean;
}

/**
 * The owner of one llama-server, and of a second one while that takes the place of the first: starts it, verifies it, starts it
 * again after a crash, replaces it, ends it. Decisions are those of `lifecycle.ts`; this class feeds it with events and carries
 * out its effects.
 */
export class SupervisedEngine implements EngineEndpoint {
  readonly #options: SupervisedEngineOptions;
  readonly #waiters = new ReadinessWaiters();
  readonly #ends = new GenerationEnds();
  /** Every generation whose process, or remains, exist. */
  readonly #living = new Map<number, SupervisedGeneration>();
  #state: EngineState = INITIAL_ENGINE_STATE;
  #current: ReadyEngine | null = null;
  /** What the latest engine that took requests was started with. */
  #settings: EngineSettings;
  /** What the next one is to be started with, until that has shown that it works, or that it does not. */
  #candidate: EngineSettings | null = null;
  #restart: PlannedRestart | null = null;
  #delayTimer: NodeJS.Timeout | undefined;
  #readySince: number | null = null;
  #startMs: number | null = null;
  #crashes = 0;
  /** Woken at every change of state. */
  readonly #stateWaiters = new Set<() => void>();

  readonly #stage: RestartStage;

  constructor(options: SupervisedEngineOptions) {
    this.#options = options;
    this.#settings = this.#preparedOnce(options);
    this.#stage = {
      env: options.env,
      mayOverlap: options.mayOverlap,
      state: () => this.#state,
      nextState: () => this.#nextState(),
      handle: (event) => this.#handle(event),
      living: () => this.#living,
      nextSettings: () => this.#candidate ?? this.#settings,
      endOf: (generation) => this.#ends.causeOf(generation),
    };
  }

  get memoryLimit(): EngineConfig['memoryLimit'] {
    return this.#settings.config.memoryLimit;
  }

  current(): ReadyEngine | null {
    return this.#current;
  }

  async ready(signal: AbortSignal): Promise<ReadyEngine> {
    signal.throwIfAborted();
    if (this.#state.name === 'stopped') this.#handle({ type: 'start' });
    const current = this.current();
    if (current !== null) return current;
    const failure = unavailable(this.#state);
    if (failure !== null) throw failure;
    return this.#waiters.wait(signal);
  }

  async start(): Promise<void> {
    this.#handle({ type: 'start' });
    await this.ready(new AbortController().signal);
  }

  suspect(): void {
    // The process is ours: its exit tells all that a refused connection can hint at.
  }

  async explainLoss(generation: number): Promise<LlameroError> {
    const engine = this.#living.get(generation);
    if (engine !== undefined) {
      if (engine.knownLoss !== null) return engine.knownLoss;
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, EXPLAIN_LOSS_MS);
      });
      await Promise.race([engine.ended, timeout]);
      clearTimeout(timer);
      // `ended` wakes this function and the owner alike; the owner's note of the cause comes one turn later.
      await new Promise(setImmediate);
    }
    const cause = this.#ends.causeOf(generation);
    return cause === null ? new LlameroError('engine_error', 'The connection to the engine broke.') : lossBy(cause);
  }

  async vitalSigns(generation: number, limitMs: number): Promise<VitalSigns | null> {
    return this.#living.get(generation)?.run?.vitalSigns(limitMs) ?? null;
  }

  replaceHung(generation: number, silentMs: number, evidence: string): void {
    const cause = hungCause(silentMs, 'replaced');
    const isConcerned = this.#handle({ type: 'hung', generation, at: performance.now(), cause });
    if (isConcerned) this.#options.events.publish('engine-hang', { generation, silentMs, evidence });
  }

  async replace(plan: ReplacementPlan): Promise<Replacement> {
    if (this.#restart !== null) {
      const message = 'The engine is being replaced already.';
      throw new LlameroError('engine_unavailable', message, { retryAfterMs: 1000 });
    }
    const restart = new PlannedRestart(plan, this.#settings.config.drainTimeout, this.#options.events);
    this.#restart = restart;
    this.#candidate = plan.settings === null ? null : this.#preparedOnce(plan.settings);
    try {
      return restart.succeeded(await replaceEngine(this.#stage, restart));
    } catch (error) {
      throw restart.failed(error);
    } finally {
      this.#restart = null;
      this.#candidate = null;
      await restart.end();
    }
  }

  status(): EngineStatus {
    const state = this.#state;
    const cause = 'cause' in state ? state.cause : null;
    const engine = this.#living.get(state.generation);
    return {
      state: state.name,
      generation: state.generation,
      cause: cause === null ? null : { name: cause.name, message: cause.message },
      facts: engine?.ready?.facts ?? null,
      pid: engine?.pid ?? null,
      readySince: this.#readySince,
      startMs: this.#startMs,
      crashes: this.#crashes,
      alongside: this.#alongside(),
    };
  }

  drain(): void {
    this.#handle({ type: 'drain' });
  }

  async stop(): Promise<void> {
    this.#handle({ type: 'stop' });
    this.#restart?.abort(beingStopped());
    for (const engine of this.#living.values()) engine.terminate(null, beingStopped());
    while (this.#state.name !== 'stopped' || this.#living.size > 0) await this.#nextState();
  }

  #preparedOnce({ config, prepare }: EngineSettings): EngineSettings {
    return { config, prepare: preparedOnce(prepare, this.#options.env) };
  }

  #alongside(): AlongsideEngine[] {
    const others = [...this.#living.values()].filter(({ generation }) => generation !== this.#state.generation);
    return others.map(({ generation, pid, isStopping }) => {
      const state = isStopping ? 'stopping' : generation > this.#state.generation ? 'starting' : 'draining';
      return { generation, state, pid };
    });
  }

  #nextState(): Promise<void> {
    return new Promise((resolve) => this.#stateWaiters.add(resolve));
  }

  /** @returns whether the event concerned the state. */
  #handle(event: EngineEvent): boolean {
    const before = this.#state;
    const { state, effects } = transition(before, event, this.#settings.config.restart);
    this.#state = state;
    const isHandingOver = state.name === 'ready' && state.successor?.verified === true;
    const isReady = state.name === 'ready' && !isHandingOver;
    this.#current = isReady ? (this.#living.get(state.generation)?.ready ?? null) : null;
    if (before.name !== state.name) this.#announce(before, state);
    for (const effect of effects) this.#apply(effect);
    this.#waiters.settle(this.#current, () => unavailable(this.#state));
    this.#wake();
    return state !== before;
  }

  #wake(): void {
    const waiters = [...this.#stateWaiters];
    this.#stateWaiters.clear();
    for (const wake of waiters) wake();
  }

  #announce(before: EngineState, state: EngineState): void {
    const { events } = this.#options;
    events.publish('engine-state', { from: before.name, to: state.name, generation: state.generation });
    if (state.name === 'backing-off') {
      const { generation, delayMs, cause, crashes } = state;
      events.publish('engine-backoff', { generation, delayMs, restartsInWindow: crashes.length, cause: cause.name });
    }
  }

  #apply(effect: EngineEffect): void {
    const { generation } = this.#state;
    switch (effect.type) {
      case 'spawn':
        void this.#spawn(effect.generation);
        break;
      case 'hand-over':
        void this.#handOver(effect.from, effect.to);
        break;
      case 'retire':
        void this.#retire(effect.generation, effect.cause);
        break;
      case 'clear':
        void this.#clear(effect.generation);
        break;
      case 'delay':
        this.#delayTimer = setTimeout(() => this.#handle({ type: 'delay-over', generation }), effect.delayMs);
        break;
      case 'cancel-delay':
        clearTimeout(this.#delayTimer);
        break;
      case 'terminate':
        this.#terminate(effect.generation, effect.cause);
        break;
      case 'kill':
        this.#living
          .get(effect.generation)
          ?.kill(effect.cause, new LlameroError('engine_error', 'The engine is hung.'));
        break;
    }
  }

  #terminate(generation: number, cause: PlannedCauseName | null): void {
    this.#living.get(generation)?.terminate(cause === null ? null : plannedCause(cause), beingStopped());
  }

  /** One generation from nothing to its end. */
  async #spawn(generation: number): Promise<void> {
    const { env, events } = this.#options;
    const engine = new SupervisedGeneration({
      generation,
      settings: this.#candidate ?? this.#settings,
      env,
      events,
      onVerified: (verified) => this.#onVerified(verified),
    });
    this.#living.set(generation, engine);
    await this.#onEnded(engine, await engine.ended);
  }

  async #onEnded(engine: SupervisedGeneration, cause: ExitCause): Promise<void> {
    const { generation } = engine;
    this.#ends.note(generation, cause);
    if (engine.settings === this.#candidate) {
      this.#candidate = null;
      if (this.#restart !== null) this.#restart.candidateCause = cause;
    }
    const state = this.#state;
    const isServing = state.generation === generation;
    const isDrained = isServing && state.name === 'draining' && state.next.type === 'stopped';
    if (!engine.isStopping && !isDrained) this.#crashes += 1;
    // The remains of a crash are cleared by its own effect, and those of others here.
    if (!isServing || engine.isStopping || isDrained) await this.#remove(engine);
    this.#handle({ type: 'exited', generation, at: performance.now(), cause });
  }

  async #clear(generation: number): Promise<void> {
    const engine = this.#living.get(generation);
    if (engine !== undefined) await this.#remove(engine);
    this.#handle({ type: 'cleared', generation, random: Math.random() });
  }

  async #remove(engine: SupervisedGeneration): Promise<void> {
    await engine.clear();
    this.#living.delete(engine.generation);
    this.#wake();
  }

  #onVerified(engine: SupervisedGeneration): void {
    const { generation } = engine;
    const isSuccessor = this.#handle({ type: 'verified', generation });
    // A successor whose predecessor died is waited for as any other.
    if (!isSuccessor) void this.#takeOver(engine);
  }

  async #takeOver(engine: SupervisedGeneration): Promise<void> {
    if (this.#restart !== null) await this.#restart.restore(engine);
    this.#promote(engine, null);
  }

  async #handOver(from: number, to: number): Promise<void> {
    const old = this.#living.get(from);
    const next = this.#living.get(to);
    if (next === undefined) return;
    if (old !== undefined && this.#restart !== null) await this.#restart.carry(old, next);
    this.#promote(next, this.#state.generation === from ? from : null);
  }

  /** It takes requests from now on. @param replaces the engine that still finishes its own. */
  #promote(engine: SupervisedGeneration, replaces: number | null): void {
    const { generation, ready, startMs } = engine;
    if (ready === null || !this.#handle({ type: 'ready', generation, at: performance.now() })) return;
    this.#settings = engine.settings;
    if (this.#candidate === engine.settings) this.#candidate = null;
    this.#readySince = Date.now();
    this.#startMs = startMs;
    const { slots, contextLength, model } = ready.facts;
    this.#options.events.publish('engine-ready', {
      generation,
      startMs: startMs ?? 0,
      slots,
      contextLength,
      model,
      ...(replaces === null ? {} : { replaces }),
    });
  }

  async #retire(generation: number, cause: PlannedCauseName): Promise<void> {
    const engine = this.#living.get(generation);
    if (engine === undefined) return;
    await this.#restart?.drained(engine);
    this.#terminate(generation, cause);
  }
}

function beingStopped(): LlameroError {
  return new LlameroError('engine_unavailable', 'The engine is being stopped.');
}
