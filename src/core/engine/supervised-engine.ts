import type { EngineConfig } from '../config.ts';
import { LlameroError, toLlameroError } from '../errors.ts';
import type { LlameroEmitter } from '../events.ts';
import type { EngineEndpoint, EngineFacts, EngineStatus, ReadyEngine } from './engine-endpoint.ts';
import type { EngineProcessEnd } from './engine-process.ts';
import type { EngineLaunch, EngineRun } from './engine-run.ts';
import { type ExitCause, exitCauseOf, spawnFailureCause } from './exit-cause.ts';
import {
  type EngineEffect,
  type EngineEvent,
  type EngineState,
  INITIAL_ENGINE_STATE,
  type PlannedCauseName,
  transition,
} from './lifecycle.ts';
import { preparedOnce } from './prepared-once.ts';
import { ReadinessWaiters } from './readiness-waiters.ts';
import { runGeneration } from './run-generation.ts';
import { hungCause, lossBy, REPLACED_FOR_MEMORY, unavailable, unpreparedCause } from './unavailable.ts';
import type { VitalSigns } from './vital-signs.ts';

/** The exit of a process is known a moment after its sockets have closed. */
const EXPLAIN_LOSS_MS = 500;
const LOG_LINES_IN_EVENT = 20;

export interface SupervisedEngineOptions {
  readonly config: EngineConfig;
  readonly env: NodeJS.ProcessEnv;
  readonly events: LlameroEmitter;
  /** Finds, and if need be installs, llama-server and model. Called until it succeeded once. */
  readonly prepare: (signal: AbortSignal) => Promise<EngineLaunch>;
}

/**
 * The owner of one llama-server: starts it, verifies it, starts it again after a crash, ends it. Decisions are those of
 * `lifecycle.ts`; this class feeds it with events and carries out its effects.
 */
export class SupervisedEngine implements EngineEndpoint {
  readonly #options: SupervisedEngineOptions;
  readonly #prepare: SupervisedEngineOptions['prepare'];
  readonly #waiters = new ReadinessWaiters();
  #state: EngineState = INITIAL_ENGINE_STATE;
  #run: EngineRun | null = null;
  #ready: ReadyEngine | null = null;
  /** Cancels whatever the present generation is doing besides running: preparing, probing. */
  #starting: AbortController | null = null;
  #delayTimer: NodeJS.Timeout | undefined;
  #lastEnd: { readonly generation: number; readonly cause: ExitCause } | null = null;
  #readySince: number | null = null;
  #startMs: number | null = null;
  #crashes = 0;
  /** Removal of the latest ended run. */
  #clearing: Promise<void> = Promise.resolve();
  /** Woken at every change of state. */
  readonly #stateWaiters = new Set<() => void>();

  constructor(options: SupervisedEngineOptions) {
    this.#options = options;
    this.#prepare = preparedOnce(options.prepare, options.env);
  }

  current(): ReadyEngine | null {
    return this.#state.name === 'ready' ? this.#ready : null;
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
    const state = this.#state;
    if (state.name === 'crashed' && state.generation === generation) return lossBy(state.cause);
    const run = this.#run;
    if (run?.generation === generation && this.#lastEnd?.generation !== generation) {
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, EXPLAIN_LOSS_MS);
      });
      await Promise.race([run.ended, timeout]);
      clearTimeout(timer);
      // `ended` wakes this function and the owner alike; the owner's note of the cause comes one turn later.
      await new Promise(setImmediate);
    }
    const end = this.#lastEnd;
    if (end === null || end.generation < generation)
      return new LlameroError('engine_error', 'The connection to the engine broke.');
    return lossBy(end.cause);
  }

  async vitalSigns(generation: number, limitMs: number): Promise<VitalSigns | null> {
    const run = this.#run;
    return run?.generation === generation ? run.vitalSigns(limitMs) : null;
  }

  replaceHung(generation: number, silentMs: number, evidence: string): void {
    const cause = hungCause(silentMs, 'replaced');
    const isConcerned = this.#handle({ type: 'hung', generation, at: performance.now(), cause });
    if (isConcerned) this.#options.events.publish('engine-hang', { generation, silentMs, evidence });
  }

  replace(generation: number, cause: PlannedCauseName, drained: Promise<void>): void {
    this.#handle({ type: 'replace', generation, cause });
    const onDrained = (): boolean => this.#handle({ type: 'drained', generation });
    // A promise that fails can tell of no more requests either.
    void drained.then(onDrained, onDrained);
  }

  status(): EngineStatus {
    const state = this.#state;
    const cause = 'cause' in state ? state.cause : null;
    return {
      state: state.name,
      generation: state.generation,
      cause: cause === null ? null : { name: cause.name, message: cause.message },
      facts: this.#ready?.facts ?? null,
      pid: this.#run?.process.pid ?? null,
      readySince: this.#readySince,
      startMs: this.#startMs,
      crashes: this.#crashes,
    };
  }

  drain(): void {
    this.#handle({ type: 'drain' });
  }

  async stop(): Promise<void> {
    this.#handle({ type: 'stop' });
    while (this.#state.name !== 'stopped') await this.#nextState();
    await this.#clearing;
  }

  #nextState(): Promise<void> {
    return new Promise((resolve) => this.#stateWaiters.add(resolve));
  }

  /** @returns whether the event concerned the state. */
  #handle(event: EngineEvent): boolean {
    const before = this.#state;
    const { state, effects } = transition(before, event, this.#options.config.restart);
    this.#state = state;
    if (before.name !== state.name) this.#announce(before, state);
    for (const effect of effects) this.#apply(effect);
    this.#waiters.settle(this.current(), () => unavailable(this.#state));
    return state !== before;
  }

  #announce(before: EngineState, state: EngineState): void {
    const { events } = this.#options;
    events.publish('engine-state', { from: before.name, to: state.name, generation: state.generation });
    if (state.name === 'backing-off') {
      const { generation, delayMs, cause, crashes } = state;
      events.publish('engine-backoff', { generation, delayMs, restartsInWindow: crashes.length, cause: cause.name });
    }
    for (const wake of this.#stateWaiters) wake();
    this.#stateWaiters.clear();
  }

  #apply(effect: EngineEffect): void {
    const { generation } = this.#state;
    switch (effect.type) {
      case 'spawn':
        void this.#spawn(generation);
        break;
      case 'clear':
        void this.#clear(generation);
        break;
      case 'delay':
        this.#delayTimer = setTimeout(() => this.#handle({ type: 'delay-over', generation }), effect.delayMs);
        break;
      case 'cancel-delay':
        clearTimeout(this.#delayTimer);
        break;
      case 'terminate':
        this.#starting?.abort(new LlameroError('engine_unavailable', 'The engine is being stopped.'));
        void this.#run?.terminate(new LlameroError('engine_unavailable', 'The engine is being stopped.'));
        break;
      case 'kill':
        void this.#run?.kill(new LlameroError('engine_error', 'The engine is hung.'));
        break;
    }
  }

  /** One generation from nothing to its end. Never rejects: whatever goes wrong becomes the cause of an exit. */
  async #spawn(generation: number): Promise<void> {
    const starting = new AbortController();
    this.#starting = starting;
    let cause: ExitCause;
    try {
      const launch = await this.#prepare(starting.signal);
      cause = await this.#runToEnd(generation, launch, starting.signal);
    } catch (error) {
      cause = unpreparedCause(toLlameroError(error));
      this.#publishExit(generation, { code: null, signal: null, log: [toLlameroError(error).message] }, cause);
    }
    this.#starting = null;
    this.#ready = null;
    this.#readySince = null;
    this.#lastEnd = { generation, cause };
    if (this.#isEndExpected()) {
      this.#clearing = this.#clearRun();
      await this.#clearing;
    } else {
      this.#crashes += 1;
    }
    this.#handle({ type: 'exited', generation, at: performance.now(), cause });
  }

  #runToEnd(generation: number, launch: EngineLaunch, signal: AbortSignal): Promise<ExitCause> {
    const { config, env, events } = this.#options;
    return runGeneration(
      {
        generation,
        launch,
        config,
        env,
        events,
        onRun: (run) => {
          this.#run = run;
        },
        onReady: (run, facts) => this.#becomeReady(run, facts),
        onEnd: (end, startupTimedOut) => {
          const cause = this.#causeOf(end, startupTimedOut);
          this.#publishExit(generation, end, cause);
          return cause;
        },
      },
      signal,
    );
  }

  #becomeReady(run: EngineRun, facts: EngineFacts): void {
    this.#ready = run.asReady(facts);
    this.#readySince = Date.now();
    this.#startMs = performance.now() - run.startedAt;
    this.#options.events.publish('engine-ready', {
      generation: run.generation,
      startMs: this.#startMs,
      slots: facts.slots,
      contextLength: facts.contextLength,
      model: facts.model,
    });
    this.#handle({ type: 'ready', generation: run.generation, at: performance.now() });
  }

  #causeOf(end: EngineProcessEnd, startupTimedOut: boolean): ExitCause {
    if (end.spawnError !== null) return spawnFailureCause(end.spawnError);
    const state = this.#state;
    if (state.name === 'crashed') return state.cause;
    if (state.name === 'stopping' && state.next.type === 'replaced') return REPLACED_FOR_MEMORY;
    return exitCauseOf({ ...end, stopping: state.name === 'stopping', startupTimedOut });
  }

  /** Whether the end of the process was asked for; an engine that dies while it is drained for a replacement has crashed. */
  #isEndExpected(): boolean {
    const state = this.#state;
    return state.name === 'stopping' || (state.name === 'draining' && state.next.type === 'stopped');
  }

  #publishExit(generation: number, end: Pick<EngineProcessEnd, 'code' | 'signal' | 'log'>, cause: ExitCause): void {
    this.#options.events.publish('engine-exit', {
      generation,
      cause: cause.name,
      message: cause.message,
      code: end.code,
      signal: end.signal,
      expected: this.#state.name === 'stopping',
      log: end.log.slice(-LOG_LINES_IN_EVENT),
    });
  }

  async #clear(generation: number): Promise<void> {
    this.#clearing = this.#clearRun();
    await this.#clearing;
    this.#handle({ type: 'cleared', generation, random: Math.random() });
  }

  async #clearRun(): Promise<void> {
    const run = this.#run;
    this.#run = null;
    try {
      await run?.clear();
    } catch (error) {
      // An engine must come back even where its old directory cannot be removed.
      process.emitWarning(
        `The private directory of an engine could not be removed: ${String(error)}`,
        'LlameroWarning',
      );
    }
  }
}
