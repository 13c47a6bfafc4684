import type { EngineStateName } from '../events.ts';
import type { ExitCause } from './exit-cause.ts';

/**
 * The life of one engine as a pure function: `(state, event) -> (state, effects)`. The owner (`supervised-engine.ts`)
 * feeds it with what happened and carries out what it says; nothing else decides.
 *
 * Every start has a generation. An event of an older generation changes nothing: a late exit or a late readiness can
 * not touch the engine that came after. A ready engine may have a successor, which starts beside it and takes its place
 * once it has shown that it works; what happens to an engine after that (it finishes its requests) is its owner's affair.
 */

interface Common {
  /** The engine that this state is about; 0 before the first start. */
  readonly generation: number;
  /** Number of the latest start, a successor's included. */
  readonly latest: number;
  /** Times of unexpected ends that still count against the restart limit, in ms of a monotonic clock. */
  readonly crashes: readonly number[];
  /** Set once the limit was exceeded, until an engine has lived through a whole window: restarts come at `maxDelay`. */
  readonly slow: boolean;
}

/** What follows the end that was asked for: nothing, or a fresh engine in place of this one, for that cause. */
export type AfterDrain = { readonly type: 'stopped' } | { readonly type: 'replaced'; readonly cause: PlannedCauseName };

/** Why a working engine is replaced on purpose: it grew to its limit, or somebody asked for it. */
export type PlannedCauseName = 'memory_limit' | 'restart';

/** The engine that starts beside a ready one to take its place. */
export interface Successor {
  readonly generation: number;
  /** It takes requests, and gets the conversations of the old one: those who want an engine wait for it. */
  readonly verified: boolean;
  readonly cause: PlannedCauseName;
}

/** The state of an engine; each carries only its own data. */
export type EngineState =
  | (Common & { readonly name: 'stopped' })
  | (Common & { readonly name: 'starting' })
  | (Common & { readonly name: 'ready'; readonly since: number; readonly successor: Successor | null })
  /** Its requests finish, new ones are not taken. */
  | (Common & { readonly name: 'draining'; readonly since: number; readonly next: AfterDrain })
  | (Common & { readonly name: 'stopping'; readonly next: AfterDrain })
  /** `ended` is false while the process of a hung engine is still being killed. */
  | (Common & { readonly name: 'crashed'; readonly cause: ExitCause; readonly ended: boolean })
  | (Common & { readonly name: 'backing-off'; readonly cause: ExitCause; readonly delayMs: number })
  | (Common & { readonly name: 'failed'; readonly cause: ExitCause; readonly retryDelayMs: number | null });

/** What may happen to an engine. `at` is a monotonic time in ms. */
export type EngineEvent =
  | { readonly type: 'start' }
  /** It takes requests. For a successor: now it is the engine. */
  | { readonly type: 'ready'; readonly generation: number; readonly at: number }
  /** Start a successor of that generation beside it. */
  | { readonly type: 'succeed'; readonly generation: number; readonly cause: PlannedCauseName }
  /** That successor takes requests. */
  | { readonly type: 'verified'; readonly generation: number }
  | { readonly type: 'exited'; readonly generation: number; readonly at: number; readonly cause: ExitCause }
  /** It gives no sign of life and has to be killed. */
  | { readonly type: 'hung'; readonly generation: number; readonly at: number; readonly cause: ExitCause }
  /** Put a fresh one in its place, once the running requests have finished. */
  | { readonly type: 'replace'; readonly generation: number; readonly cause: PlannedCauseName }
  /** No request is left on an engine that is being replaced. */
  | { readonly type: 'drained'; readonly generation: number }
  /** The remains of a crashed process are cleared away. */
  | { readonly type: 'cleared'; readonly generation: number; readonly random: number }
  /** The delay of `backing-off` or of the slow retry of `failed` is over. */
  | { readonly type: 'delay-over'; readonly generation: number }
  /** End it once the running requests have finished. */
  | { readonly type: 'drain' }
  /** End it now. */
  | { readonly type: 'stop' };

/** What the owner has to do after a transition, in order. */
export type EngineEffect =
  | { readonly type: 'spawn'; readonly generation: number }
  /** Give the conversations of one engine to the other, then report the other as ready. */
  | { readonly type: 'hand-over'; readonly from: number; readonly to: number }
  /** It has been succeeded: end it once its requests have finished. */
  | { readonly type: 'retire'; readonly generation: number; readonly cause: PlannedCauseName }
  /** Remove what a dead process left behind, then report `cleared`. */
  | { readonly type: 'clear'; readonly generation: number }
  /** Report `delay-over` after this long. */
  | { readonly type: 'delay'; readonly delayMs: number }
  | { readonly type: 'cancel-delay' }
  /** SIGTERM, then SIGKILL to the process group. */
  | { readonly type: 'terminate'; readonly generation: number; readonly cause: PlannedCauseName | null }
  /** SIGKILL at once: a stopped process hears nothing else. */
  | { readonly type: 'kill'; readonly generation: number; readonly cause: ExitCause };

/** When and how often a crashed engine is started again; names as in the configuration. */
export interface RestartPolicy {
  readonly maxRestarts: number;
  /** ms */
  readonly window: number;
  /** ms */
  readonly delay: number;
  readonly backoffMultiplier: number;
  /** ms */
  readonly maxDelay: number;
}

export interface Transition {
  readonly state: EngineState;
  readonly effects: readonly EngineEffect[];
}

/** Where every engine begins. */
export const INITIAL_ENGINE_STATE: EngineState = {
  name: 'stopped',
  generation: 0,
  latest: 0,
  crashes: [],
  slow: false,
};

/** States in which a process of this generation exists. */
const ALIVE: ReadonlySet<EngineStateName> = new Set(['starting', 'ready', 'draining', 'stopping']);

/** The transition function. An event that does not concern the state leaves it as it is, without effects. */
export function transition(state: EngineState, event: EngineEvent, policy: RestartPolicy): Transition {
  if ('generation' in event && event.generation !== state.generation) return ofSuccessor(state, event);
  switch (event.type) {
    case 'start':
      return start(state);
    case 'ready':
      return state.name === 'starting'
        ? { state: { ...common(state), name: 'ready', since: event.at, successor: null }, effects: [] }
        : unchanged(state);
    case 'succeed':
      return succeed(state, event.cause);
    case 'verified':
      return unchanged(state);
    case 'exited':
      return exited(state, event.at, event.cause, policy);
    case 'hung':
      return hung(state, event.at, event.cause, policy);
    case 'replace':
      return state.name === 'ready' && state.successor === null
        ? { state: draining(state, { type: 'replaced', cause: event.cause }), effects: [] }
        : unchanged(state);
    case 'drained':
      return state.name === 'draining' && state.next.type === 'replaced'
        ? { state: { ...common(state), name: 'stopping', next: state.next }, effects: [terminate(state, state.next)] }
        : unchanged(state);
    case 'cleared':
      return state.name === 'crashed' ? afterCrash(state, event.random, policy) : unchanged(state);
    case 'delay-over':
      return state.name === 'backing-off' || state.name === 'failed' ? spawnNext(state, []) : unchanged(state);
    case 'drain':
      return drain(state);
    case 'stop':
      return stop(state);
  }
}

/**
 * The delay before restart number `restarts` within the window. The first comes at once: one crash is an accident, and
 * somebody waits. From the second on it is exponential, at most `maxDelay`, with "equal jitter": half of it fixed,
 * half random, so that many engines do not start in step.
 */
export function restartDelayMs(restarts: number, random: number, policy: RestartPolicy): number {
  if (restarts <= 1) return 0;
  const full = Math.min(policy.maxDelay, policy.delay * policy.backoffMultiplier ** (restarts - 2));
  return Math.round(full / 2 + (full / 2) * random);
}

function succeed(state: EngineState, cause: PlannedCauseName): Transition {
  if (state.name !== 'ready' || state.successor !== null) return unchanged(state);
  const generation = state.latest + 1;
  return {
    state: { ...state, latest: generation, successor: { generation, verified: false, cause } },
    effects: [{ type: 'spawn', generation }],
  };
}

/** An event of another generation than that of the state concerns its successor, or nobody any more. */
function ofSuccessor(state: EngineState, event: EngineEvent & { readonly generation: number }): Transition {
  if (state.name !== 'ready' || state.successor?.generation !== event.generation) return unchanged(state);
  const { generation, verified, cause } = state.successor;
  switch (event.type) {
    case 'verified':
      return {
        state: { ...state, successor: { ...state.successor, verified: true } },
        effects: [{ type: 'hand-over', from: state.generation, to: generation }],
      };
    case 'ready':
      if (!verified) return unchanged(state);
      return {
        state: { ...common(state), generation, name: 'ready', since: event.at, successor: null },
        effects: [{ type: 'retire', generation: state.generation, cause }],
      };
    case 'exited':
      // The old one goes on as if nothing had been tried.
      return { state: { ...state, successor: null }, effects: [] };
    default:
      return unchanged(state);
  }
}

function start(state: EngineState): Transition {
  if (state.name === 'stopped') return spawnNext({ ...state, crashes: [], slow: false }, []);
  // An explicit start is somebody's word that the cause is mended: the count begins anew.
  if (state.name === 'failed') return spawnNext({ ...state, crashes: [], slow: false }, [{ type: 'cancel-delay' }]);
  return unchanged(state);
}

function exited(state: EngineState, at: number, cause: ExitCause, policy: RestartPolicy): Transition {
  if (state.name === 'crashed' && !state.ended) {
    return { state: { ...state, ended: true }, effects: [clear(state)] };
  }
  if (!ALIVE.has(state.name)) return unchanged(state);
  if (state.name === 'stopping') {
    if (state.next.type === 'replaced') return spawnNext(state, []);
    return { state: { ...common(state), name: 'stopped' }, effects: [] };
  }
  if (state.name === 'draining' && state.next.type === 'stopped')
    return { state: { ...common(state), name: 'stopped' }, effects: [] };
  return { state: crashed(state, at, cause, true, policy), effects: [clear(state)] };
}

/** Only an engine that was ready can hang; a start that stands still has a limit of its own, and a stop ends in SIGKILL anyway. */
function hung(state: EngineState, at: number, cause: ExitCause, policy: RestartPolicy): Transition {
  if (state.name === 'draining' && state.next.type === 'stopped')
    return { state: { ...common(state), name: 'stopping', next: state.next }, effects: [kill(state, cause)] };
  if (state.name !== 'ready' && state.name !== 'draining') return unchanged(state);
  return { state: crashed(state, at, cause, false, policy), effects: [kill(state, cause)] };
}

/** With a successor on its way there is nothing to wait for: that one takes over as soon as it can. */
function crashed(state: EngineState, at: number, cause: ExitCause, ended: boolean, policy: RestartPolicy): EngineState {
  const livedThroughWindow = 'since' in state && at - state.since >= policy.window;
  const crashes = livedThroughWindow ? [at] : [...state.crashes.filter((time) => at - time < policy.window), at];
  const slow = state.slow && !livedThroughWindow;
  const { generation, latest } = state;
  if (state.name === 'ready' && state.successor !== null)
    return { generation: state.successor.generation, latest, crashes, slow, name: 'starting' };
  return { generation, latest, crashes, slow, name: 'crashed', cause, ended };
}

function drain(state: EngineState): Transition {
  // A replacement under way becomes an end.
  if (state.name !== 'ready' && state.name !== 'draining') return unchanged(state);
  return { state: draining(state, { type: 'stopped' }), effects: abandon(state) };
}

function draining(state: Extract<EngineState, { since: number }>, next: AfterDrain): EngineState {
  return { ...common(state), name: 'draining', since: state.since, next };
}

/** Ends a successor that will not be needed. */
function abandon(state: EngineState): EngineEffect[] {
  if (state.name !== 'ready' || state.successor === null) return [];
  return [{ type: 'terminate', generation: state.successor.generation, cause: null }];
}

function afterCrash(
  state: Extract<EngineState, { name: 'crashed' }>,
  random: number,
  policy: RestartPolicy,
): Transition {
  const { cause } = state;
  if (cause.final) return { state: { ...common(state), name: 'failed', cause, retryDelayMs: null }, effects: [] };
  if (state.slow || state.crashes.length > policy.maxRestarts) {
    const retryDelayMs = policy.maxDelay;
    return {
      state: { ...common(state), slow: true, name: 'failed', cause, retryDelayMs },
      effects: [{ type: 'delay', delayMs: retryDelayMs }],
    };
  }
  const delayMs = restartDelayMs(state.crashes.length, random, policy);
  return { state: { ...common(state), name: 'backing-off', cause, delayMs }, effects: [{ type: 'delay', delayMs }] };
}

function stop(state: EngineState): Transition {
  switch (state.name) {
    case 'starting':
    case 'ready':
    case 'draining':
      return { state: stopping(state), effects: [...abandon(state), terminate(state, { type: 'stopped' })] };
    case 'stopping':
      return { state: stopping(state), effects: [] };
    case 'backing-off':
    case 'failed':
      return { state: { ...common(state), name: 'stopped' }, effects: [{ type: 'cancel-delay' }] };
    case 'crashed':
      return { state: state.ended ? { ...common(state), name: 'stopped' } : stopping(state), effects: [] };
    default:
      return unchanged(state);
  }
}

function stopping(state: EngineState): EngineState {
  return { ...common(state), name: 'stopping', next: { type: 'stopped' } };
}

function spawnNext(state: EngineState, before: readonly EngineEffect[]): Transition {
  const generation = state.latest + 1;
  return {
    state: { ...common(state), generation, latest: generation, name: 'starting' },
    effects: [...before, { type: 'spawn', generation }],
  };
}

function terminate({ generation }: EngineState, next: AfterDrain): EngineEffect {
  return { type: 'terminate', generation, cause: next.type === 'replaced' ? next.cause : null };
}

function kill({ generation }: EngineState, cause: ExitCause): EngineEffect {
  return { type: 'kill', generation, cause };
}

function clear({ generation }: EngineState): EngineEffect {
  return { type: 'clear', generation };
}

function common(state: EngineState): Common {
  return { generation: state.generation, latest: state.latest, crashes: state.crashes, slow: state.slow };
}

function unchanged(state: EngineState): Transition {
  return { state, effects: [] };
}
