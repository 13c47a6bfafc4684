import type { EngineStateName } from '../events.ts';
import {
  type AfterDrain,
  historyOf,
  type EngineEffect,
  type EngineEvent,
  type EngineState,
  type PlannedCauseName,
} from './engine-state.ts';
import type { ExitCause } from './exit-cause.ts';
import { countCrash, isSlow, restartDelayMs, type RestartPolicy } from './restart-policy.ts';

/**
 * The life of one engine as a pure function: `(state, event) -> (state, effects)`. The owner (`supervised-engine.ts`)
 * feeds it with what happened and carries out what it says; nothing else decides.
 *
 * Every start has a generation. An event of an older generation changes nothing: a late exit or a late readiness can
 * not touch the engine that came after. A ready engine may have a successor, which starts beside it and takes its place
 * once it has shown that it works; what happens to an engine after that (it finishes its requests) is its owner's affair.
 */

export interface Transition {
  readonly state: EngineState;
  readonly effects: readonly EngineEffect[];
}

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
        ? { state: { ...historyOf(state), name: 'ready', since: event.at, successor: null }, effects: [] }
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
        ? {
            state: { ...historyOf(state), name: 'stopping', next: state.next },
            effects: [terminate(state, state.next)],
          }
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
        state: { ...historyOf(state), generation, name: 'ready', since: event.at, successor: null },
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
    return { state: { ...historyOf(state), name: 'stopped' }, effects: [] };
  }
  if (state.name === 'draining' && state.next.type === 'stopped')
    return { state: { ...historyOf(state), name: 'stopped' }, effects: [] };
  return { state: crashed(state, at, cause, true, policy), effects: [clear(state)] };
}

/** Only an engine that was ready can hang; a start that stands still has a limit of its own, and a stop ends in SIGKILL anyway. */
function hung(state: EngineState, at: number, cause: ExitCause, policy: RestartPolicy): Transition {
  if (state.name === 'draining' && state.next.type === 'stopped')
    return { state: { ...historyOf(state), name: 'stopping', next: state.next }, effects: [kill(state, cause)] };
  if (state.name !== 'ready' && state.name !== 'draining') return unchanged(state);
  return { state: crashed(state, at, cause, false, policy), effects: [kill(state, cause)] };
}

/** With a successor on its way there is nothing to wait for: that one takes over as soon as it can. */
function crashed(state: EngineState, at: number, cause: ExitCause, ended: boolean, policy: RestartPolicy): EngineState {
  const { crashes, slow } = countCrash(state, 'since' in state ? state.since : null, at, policy);
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
  return { ...historyOf(state), name: 'draining', since: state.since, next };
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
  if (cause.final) return { state: { ...historyOf(state), name: 'failed', cause, retryDelayMs: null }, effects: [] };
  if (isSlow(state, policy)) {
    const retryDelayMs = policy.maxDelay;
    return {
      state: { ...historyOf(state), slow: true, name: 'failed', cause, retryDelayMs },
      effects: [{ type: 'delay', delayMs: retryDelayMs }],
    };
  }
  const delayMs = restartDelayMs(state.crashes.length, random, policy);
  return { state: { ...historyOf(state), name: 'backing-off', cause, delayMs }, effects: [{ type: 'delay', delayMs }] };
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
      return { state: { ...historyOf(state), name: 'stopped' }, effects: [{ type: 'cancel-delay' }] };
    case 'crashed':
      return { state: state.ended ? { ...historyOf(state), name: 'stopped' } : stopping(state), effects: [] };
    default:
      return unchanged(state);
  }
}

function stopping(state: EngineState): EngineState {
  return { ...historyOf(state), name: 'stopping', next: { type: 'stopped' } };
}

function spawnNext(state: EngineState, before: readonly EngineEffect[]): Transition {
  const generation = state.latest + 1;
  return {
    state: { ...historyOf(state), generation, latest: generation, name: 'starting' },
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

function unchanged(state: EngineState): Transition {
  return { state, effects: [] };
}
