import type { EngineConfig } from '../config.ts';
import { LlameroError } from '../errors.ts';
import type { LlameroEmitter } from '../events.ts';
import type { OverlapFacts } from './decide-overlap.ts';
import type { EngineEndpoint, EngineStatus, ReadyEngine, Replacement, ReplacementPlan } from './engine-endpoint.ts';
import { EngineGenerations } from './engine-generations.ts';
import type { EngineSettings } from './engine-settings.ts';
import {
  type EngineEffect,
  type EngineEvent,
  type EngineState,
  INITIAL_ENGINE_STATE,
  type PlannedCauseName,
} from './engine-state.ts';
import type { ExitCause } from './exit-cause.ts';
import { transition } from './lifecycle.ts';
import { PlannedRestarts } from './planned-restarts.ts';
import { ReadinessWaiters } from './readiness-waiters.ts';
import type { RestartStage } from './replace-engine.ts';
import { SupervisedGeneration } from './supervised-generation.ts';
import { hungCause, plannedCause, unavailable } from './unavailable.ts';
import type { VitalSigns } from './vital-signs.ts';

export interface SupervisedEngineOptions extends EngineSettings {
  readonly env: NodeJS.ProcessEnv;
  readonly events: LlameroEmitter;
  /** Whether a second engine fits beside the present one; default `mayOverlap` of `decide-overlap.ts`. */
  readonly mayOverlap?: (facts: OverlapFacts) => boolean;
}

/**
 * The owner of one llama-server, and of a second one while that takes the place of the first: starts it, verifies it, starts it
 * again after a crash, replaces it, ends it. Decisions are those of `lifecycle.ts`; this class owns the state, feeds that function
 * with events and carries out its effects.
 */
export class SupervisedEngine implements EngineEndpoint {
  readonly #options: SupervisedEngineOptions;
  readonly #waiters = new ReadinessWaiters();
  readonly #generations = new EngineGenerations();
  readonly #restarts: PlannedRestarts;
  #state: EngineState = INITIAL_ENGINE_STATE;
  #current: ReadyEngine | null = null;
  #delayTimer: NodeJS.Timeout | undefined;
  #readySince: number | null = null;
  #startMs: number | null = null;
  #crashes = 0;
  /** Woken at every change of state. */
  readonly #stateWaiters = new Set<() => void>();

  readonly #stage: RestartStage;

  constructor(options: SupervisedEngineOptions) {
    this.#options = options;
    const { config, prepare, env, events } = options;
    this.#restarts = new PlannedRestarts({ settings: { config, prepare }, env, events });
    this.#stage = {
      env,
      mayOverlap: options.mayOverlap,
      state: () => this.#state,
      nextState: () => this.#nextState(),
      handle: (event) => this.#handle(event),
      living: () => this.#generations.living,
      nextSettings: () => this.#restarts.nextSettings,
      endOf: (generation) => this.#generations.causeOf(generation),
    };
  }

  get memoryLimit(): EngineConfig['memoryLimit'] {
    return this.#restarts.settings.config.memoryLimit;
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

  explainLoss(generation: number): Promise<LlameroError> {
    return this.#generations.explainLoss(generation);
  }

  async vitalSigns(generation: number, limitMs: number): Promise<VitalSigns | null> {
    return this.#generations.get(generation)?.run?.vitalSigns(limitMs) ?? null;
  }

  replaceHung(generation: number, silentMs: number, evidence: string): void {
    const cause = hungCause(silentMs, 'replaced');
    const isConcerned = this.#handle({ type: 'hung', generation, at: performance.now(), cause });
    if (isConcerned) this.#options.events.publish('engine-hang', { generation, silentMs, evidence });
  }

  replace(plan: ReplacementPlan): Promise<Replacement> {
    return this.#restarts.replace(plan, this.#stage);
  }

  status(): EngineStatus {
    const state = this.#state;
    const cause = 'cause' in state ? state.cause : null;
    const engine = this.#generations.get(state.generation);
    return {
      state: state.name,
      generation: state.generation,
      cause: cause === null ? null : { name: cause.name, message: cause.message },
      facts: engine?.ready?.facts ?? null,
      pid: engine?.pid ?? null,
      readySince: this.#readySince,
      startMs: this.#startMs,
      crashes: this.#crashes,
      alongside: this.#generations.alongside(state.generation),
    };
  }

  drain(): void {
    this.#handle({ type: 'drain' });
  }

  async stop(): Promise<void> {
    this.#handle({ type: 'stop' });
    this.#restarts.abort(beingStopped());
    for (const engine of this.#generations.living.values()) engine.terminate(null, beingStopped());
    while (this.#state.name !== 'stopped' || this.#generations.living.size > 0) await this.#nextState();
  }

  #nextState(): Promise<void> {
    return new Promise((resolve) => this.#stateWaiters.add(resolve));
  }

  /** @returns whether the event concerned the state. */
  #handle(event: EngineEvent): boolean {
    const before = this.#state;
    const { state, effects } = transition(before, event, this.#restarts.settings.config.restart);
    this.#state = state;
    const isHandingOver = state.name === 'ready' && state.successor?.verified === true;
    const isReady = state.name === 'ready' && !isHandingOver;
    this.#current = isReady ? (this.#generations.get(state.generation)?.ready ?? null) : null;
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
        this.#generations
          .get(effect.generation)
          ?.kill(effect.cause, new LlameroError('engine_error', 'The engine is hung.'));
        break;
    }
  }

  #terminate(generation: number, cause: PlannedCauseName | null): void {
    this.#generations.get(generation)?.terminate(cause === null ? null : plannedCause(cause), beingStopped());
  }

  /** One generation from nothing to its end. */
  async #spawn(generation: number): Promise<void> {
    const { env, events } = this.#options;
    const engine = new SupervisedGeneration({
      generation,
      settings: this.#restarts.nextSettings,
      env,
      events,
      onVerified: (verified) => this.#onVerified(verified),
    });
    this.#generations.add(engine);
    await this.#onEnded(engine, await engine.ended);
  }

  async #onEnded(engine: SupervisedGeneration, cause: ExitCause): Promise<void> {
    const { generation } = engine;
    this.#generations.noteEnd(generation, cause);
    this.#restarts.noteEnd(engine, cause);
    const state = this.#state;
    const isServing = state.generation === generation;
    const isDrained = isServing && state.name === 'draining' && state.next.type === 'stopped';
    if (!engine.isStopping && !isDrained) this.#crashes += 1;
    // The remains of a crash are cleared by its own effect, and those of others here.
    if (!isServing || engine.isStopping || isDrained) await this.#remove(engine);
    this.#handle({ type: 'exited', generation, at: performance.now(), cause });
  }

  async #clear(generation: number): Promise<void> {
    const engine = this.#generations.get(generation);
    if (engine !== undefined) await this.#remove(engine);
    this.#handle({ type: 'cleared', generation, random: Math.random() });
  }

  async #remove(engine: SupervisedGeneration): Promise<void> {
    await engine.clear();
    this.#generations.delete(engine);
    this.#wake();
  }

  #onVerified(engine: SupervisedGeneration): void {
    const { generation } = engine;
    const isSuccessor = this.#handle({ type: 'verified', generation });
    // A successor whose predecessor died is waited for as any other.
    if (!isSuccessor) void this.#takeOver(engine);
  }

  async #takeOver(engine: SupervisedGeneration): Promise<void> {
    const restoring = this.#restarts.restore(engine);
    if (restoring !== null) await restoring;
    this.#promote(engine, null);
  }

  async #handOver(from: number, to: number): Promise<void> {
    const old = this.#generations.get(from);
    const next = this.#generations.get(to);
    if (next === undefined) return;
    const carrying = old === undefined ? null : this.#restarts.carry(old, next);
    if (carrying !== null) await carrying;
    this.#promote(next, this.#state.generation === from ? from : null);
  }

  /** It takes requests from now on. @param replaces the engine that still finishes its own. */
  #promote(engine: SupervisedGeneration, replaces: number | null): void {
    const { generation, ready, startMs } = engine;
    if (ready === null || !this.#handle({ type: 'ready', generation, at: performance.now() })) return;
    this.#restarts.noteReady(engine);
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
    const engine = this.#generations.get(generation);
    if (engine === undefined) return;
    await this.#restarts.drained(engine);
    this.#terminate(generation, cause);
  }
}

function beingStopped(): LlameroError {
  return new LlameroError('engine_unavailable', 'The engine is being stopped.');
}
