import type { EngineConfig } from '../config.ts';
import { LlameroError, toLlameroError } from '../errors.ts';
import type { LlameroEmitter } from '../events.ts';
import type { EngineEndpoint, EngineFacts, EngineStatus, ReadyEngine } from './engine-endpoint.ts';
import type { EngineProcessEnd } from './engine-process.ts';
import { type EngineLaunch, EngineRun } from './engine-run.ts';
import { type ExitCause, exitCauseOf, spawnFailureCause } from './exit-cause.ts';
import {
  type EngineEffect,
  type EngineEvent,
  type EngineState,
  INITIAL_ENGINE_STATE,
  transition,
} from './lifecycle.ts';
import { endLeftovers } from './runtime-directory.ts';
import { StartupStalled } from './startup.ts';

/** The exit of a process is known a moment after its sockets have closed. */
const EXPLAIN_LOSS_MS = 500;
const PORT_ATTEMPTS = 10;
const LOG_LINES_IN_EVENT = 20;

export interface SupervisedEngineOptions {
  readonly config: EngineConfig;
  readonly env: NodeJS.ProcessEnv;
  readonly events: LlameroEmitter;
  /** Finds, and if need be installs, llama-server and model. Called until it succeeded once. */
  readonly prepare: (signal: AbortSignal) => Promise<EngineLaunch>;
}

interface Waiter {
  readonly resolve: (engine: ReadyEngine) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The owner of one llama-server: starts it, verifies it, starts it again after a crash, ends it. Decisions are those of
 * `lifecycle.ts`; this class feeds it with events and carries out its effects.
 */
export class SupervisedEngine implements EngineEndpoint {
  readonly #options: SupervisedEngineOptions;
  readonly #waiters = new Set<Waiter>();
  #state: EngineState = INITIAL_ENGINE_STATE;
  #run: EngineRun | null = null;
  #ready: ReadyEngine | null = null;
  #launch: EngineLaunch | null = null;
  /** Cancels whatever the present generation is doing besides running: preparing, probing. */
  #starting: AbortController | null = null;
  #delayTimer: NodeJS.Timeout | undefined;
  #lastEnd: { readonly generation: number; readonly cause: ExitCause } | null = null;
  #readySince: number | null = null;
  #startMs: number | null = null;
  #crashes = 0;
  #leftoversEnded = false;
  /** Removal of the latest ended run. */
  #clearing: Promise<void> = Promise.resolve();
  /** Woken at every change of state. */
  readonly #stateWaiters = new Set<() => void>();

  constructor(options: SupervisedEngineOptions) {
    this.#options = options;
  }

  current(): ReadyEngine | null {
    return this.#state.name === 'ready' ? this.#ready : null;
  }

  async ready(signal: AbortSignal): Promise<ReadyEngine> {
    signal.throwIfAborted();
    if (this.#state.name === 'stopped') this.#handle({ type: 'start' });
    const current = this.current();
    if (current !== null) return current;
    const failure = this.#failure();
    if (failure !== null) throw failure;
    const { promise, resolve, reject } = Promise.withResolvers<ReadyEngine>();
    const waiter: Waiter = { resolve, reject };
    const onAbort = (): void => reject(signal.reason);
    this.#waiters.add(waiter);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await promise;
    } finally {
      this.#waiters.delete(waiter);
      signal.removeEventListener('abort', onAbort);
    }
  }

  async start(): Promise<void> {
    this.#handle({ type: 'start' });
    await this.ready(new AbortController().signal);
  }

  suspect(): void {
    // The process is ours: its exit tells all that a refused connection can hint at.
  }

  async explainLoss(generation: number): Promise<LlameroError> {
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
    return new LlameroError('engine_error', end.cause.message, {
      details: { cause: end.cause.name, engineEnded: true },
    });
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

  #handle(event: EngineEvent): void {
    const before = this.#state;
    const { state, effects } = transition(before, event, this.#options.config.restart);
    this.#state = state;
    if (before.name !== state.name) this.#announce(before, state);
    for (const effect of effects) this.#apply(effect);
    this.#settleWaiters();
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
    const stopping = this.#state.name === 'stopping' || this.#state.name === 'draining';
    if (stopping) {
      this.#clearing = this.#clearRun();
      await this.#clearing;
    } else {
      this.#crashes += 1;
    }
    this.#handle({ type: 'exited', generation, at: performance.now(), cause });
  }

  async #prepare(signal: AbortSignal): Promise<EngineLaunch> {
    this.#launch ??= await this.#options.prepare(signal);
    if (!this.#leftoversEnded) {
      await endLeftovers(this.#options.env);
      this.#leftoversEnded = true;
    }
    signal.throwIfAborted();
    return this.#launch;
  }

  /** Runs the process until it ends, moving on to other ports while they are taken. */
  async #runToEnd(generation: number, launch: EngineLaunch, signal: AbortSignal): Promise<ExitCause> {
    const { config, env, events } = this.#options;
    let port: number | null = null;
    for (let attempt = 1; ; attempt++) {
      const run: EngineRun = await EngineRun.spawn({ generation, launch, config, env, events, port });
      this.#run = run;
      // The stop may have come while the process was being spawned, when there was nothing to terminate yet.
      if (signal.aborted) void run.terminate(toLlameroError(signal.reason));
      const verifying = new AbortController();
      const stalled = this.#verify(run, AbortSignal.any([signal, verifying.signal]));
      const end = await run.ended;
      verifying.abort();
      const cause = this.#causeOf(end, await stalled);
      this.#publishExit(generation, end, cause);
      if (cause.name !== 'port_taken' || attempt === PORT_ATTEMPTS || signal.aborted) return cause;
      await run.clear();
      port = config.port === 'auto' ? null : config.port + attempt;
    }
  }

  /** @returns whether the start was given up for lack of progress. */
  async #verify(run: EngineRun, signal: AbortSignal): Promise<boolean> {
    try {
      const facts: EngineFacts = await run.verified(this.#options.config.startupTimeout, signal);
      this.#becomeReady(run, facts);
      return false;
    } catch (error) {
      if (signal.aborted) return false;
      // Any other failure to verify is as good as no progress: the process is ended and the cause is told.
      run.process.kill('SIGKILL');
      return error instanceof StartupStalled;
    }
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
    const stopping = this.#state.name === 'stopping';
    return exitCauseOf({ ...end, stopping, startupTimedOut });
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

  #settleWaiters(): void {
    if (this.#waiters.size === 0) return;
    const current = this.current();
    const failure = current === null ? this.#failure() : null;
    if (current === null && failure === null) return;
    for (const waiter of this.#waiters) {
      if (current !== null) waiter.resolve(current);
      else waiter.reject(failure);
    }
  }

  /** Why waiting is pointless now, or null while an engine may still come. */
  #failure(): LlameroError | null {
    const state = this.#state;
    switch (state.name) {
      case 'failed':
        return new LlameroError('engine_unavailable', state.cause.message, {
          details: { cause: state.cause.name },
          cause: state.cause.error,
          retryAfterMs: state.retryDelayMs ?? undefined,
        });
      case 'stopping':
      case 'draining':
        return new LlameroError('engine_unavailable', 'The engine is being stopped.');
      case 'stopped':
        return new LlameroError('engine_unavailable', 'The engine is stopped.');
      default:
        return null;
    }
  }
}

/** What the preparation failed for: somebody has to act, so it is final. The full message is for logs; it may name paths. */
function unpreparedCause(error: LlameroError): ExitCause {
  if (error.code === 'model_not_found')
    return { name: 'model_missing', message: 'The model was not found.', final: true, error };
  return {
    name: 'not_prepared',
    message: 'llama-server or the model could not be made ready to start.',
    final: true,
    error,
  };
}
