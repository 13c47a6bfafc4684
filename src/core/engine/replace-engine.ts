import { LlameroError } from '../errors.ts';
import { mayOverlap, type OverlapFacts } from './decide-overlap.ts';
import type { EngineSettings } from './engine-settings.ts';
import type { EngineEvent, EngineState } from './engine-state.ts';
import { overlapFacts } from './overlap-facts.ts';
import type { PlannedRestart } from './planned-restart.ts';
import type { SupervisedGeneration } from './supervised-generation.ts';
import { unavailable } from './unavailable.ts';

/** What a planned restart needs of the owner of the engines. */
export interface RestartStage {
  readonly env: NodeJS.ProcessEnv;
  state(): EngineState;
  /** Resolves at the next change of the state, or of the engines that live. */
  nextState(): Promise<void>;
  handle(event: EngineEvent): boolean;
  /** Every engine whose process, or remains, exist. */
  living(): ReadonlyMap<number, SupervisedGeneration>;
  /** What the next engine is started with. */
  nextSettings(): EngineSettings;
  readonly mayOverlap: ((facts: OverlapFacts) => boolean) | undefined;
  /** Why a generation ended. */
  endOf(generation: number): { readonly name: string; readonly message: string; readonly error?: LlameroError } | null;
}

/**
 * Carries out a planned restart.
 * @returns the generation that takes requests now.
 * @throws LlameroError `engine_unavailable` with the cause.
 */
export async function replaceEngine(stage: RestartStage, restart: PlannedRestart): Promise<number> {
  const { generation } = restart.plan;
  const before = stage.state();
  restart.begin(before.generation, false);
  if (generation !== null && (before.name !== 'ready' || before.generation !== generation)) throw gone();
  if (before.name === 'stopped' || before.name === 'failed') {
    stage.handle({ type: 'start' });
    return awaitNext(stage, restart, before.generation);
  }
  const old = await settledEngine(stage);
  const next = stage.nextSettings();
  // Before anything is ended or started: downloading a model takes its time.
  const launch = await next.prepare(restart.signal);
  const size = { config: old.settings.config, launch: old.launch ?? launch };
  const facts = await overlapFacts(old.pid, size, { config: next.config, launch });
  const overlap = (stage.mayOverlap ?? mayOverlap)(facts);
  restart.begin(old.generation, overlap);
  if (overlap) return succeed(stage, restart, old.generation);
  return drainFirst(stage, restart, old);
}

/** @returns the engine once it is ready and alone: more than two at once would have no bound. */
async function settledEngine(stage: RestartStage): Promise<SupervisedGeneration> {
  for (;;) {
    const state = stage.state();
    const engine = stage.living().get(state.generation);
    if (state.name === 'ready' && engine !== undefined && stage.living().size === 1) return engine;
    const failure = unavailable(state);
    if (failure !== null) throw failure;
    await stage.nextState();
  }
}

async function succeed(stage: RestartStage, restart: PlannedRestart, from: number): Promise<number> {
  if (!stage.handle({ type: 'succeed', generation: from, cause: restart.plan.cause })) throw gone();
  const to = stage.state().latest;
  for (;;) {
    const state = stage.state();
    const isServing = state.generation === to;
    if (isServing && state.name === 'ready') return to;
    const isOnItsWay = state.name === 'ready' && state.successor?.generation === to;
    if (!isOnItsWay && !(isServing && state.name === 'starting')) throw failureOf(stage, to);
    await stage.nextState();
  }
}

async function drainFirst(stage: RestartStage, restart: PlannedRestart, old: SupervisedGeneration): Promise<number> {
  const { generation } = old;
  if (!stage.handle({ type: 'replace', generation, cause: restart.plan.cause })) throw gone();
  await restart.drained(old);
  const state = stage.state();
  if (state.name === 'draining' && state.next.type === 'replaced') await restart.save(old, stage.env);
  stage.handle({ type: 'drained', generation });
  return awaitNext(stage, restart, generation);
}

/** Until another engine than `from` is ready. Where the new settings do not work, one with the old ones is started, and the failure told. */
async function awaitNext(stage: RestartStage, restart: PlannedRestart, from: number): Promise<number> {
  let isFallback = false;
  for (;;) {
    const state = stage.state();
    if (state.name === 'ready' && state.generation !== from) {
      if (restart.candidateCause !== null) throw failureOf(stage, state.generation, restart.candidateCause);
      return state.generation;
    }
    const failure = unavailable(state);
    if (failure !== null) {
      if (state.name !== 'failed' || restart.candidateCause === null || isFallback) throw failure;
      isFallback = true;
      stage.handle({ type: 'start' });
    }
    await stage.nextState();
  }
}

function gone(): LlameroError {
  return new LlameroError('engine_unavailable', 'The engine that was to be replaced is not there any more.');
}

function failureOf(stage: RestartStage, generation: number, cause = stage.endOf(generation)): LlameroError {
  const failure = unavailable(stage.state());
  if (cause === null) return failure ?? gone();
  const goesOn = stage.state().name === 'ready' ? ' The old one goes on.' : '';
  return new LlameroError('engine_unavailable', `The new engine did not start: ${cause.message}${goesOn}`, {
    details: { cause: cause.name },
    cause: cause.error,
  });
}
