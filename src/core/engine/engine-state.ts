import type { ExitCause } from './exit-cause.ts';

/** The words of `lifecycle.ts`: the states of an engine, what may happen to it, and what its owner then has to do. */

/** What every state carries. */
export interface EngineHistory {
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
  | (EngineHistory & { readonly name: 'stopped' })
  | (EngineHistory & { readonly name: 'starting' })
  | (EngineHistory & { readonly name: 'ready'; readonly since: number; readonly successor: Successor | null })
  /** Its requests finish, new ones are not taken. */
  | (EngineHistory & { readonly name: 'draining'; readonly since: number; readonly next: AfterDrain })
  | (EngineHistory & { readonly name: 'stopping'; readonly next: AfterDrain })
  /** `ended` is false while the process of a hung engine is still being killed. */
  | (EngineHistory & { readonly name: 'crashed'; readonly cause: ExitCause; readonly ended: boolean })
  | (EngineHistory & { readonly name: 'backing-off'; readonly cause: ExitCause; readonly delayMs: number })
  | (EngineHistory & { readonly name: 'failed'; readonly cause: ExitCause; readonly retryDelayMs: number | null });

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

/** Where every engine begins. */
export const INITIAL_ENGINE_STATE: EngineState = {
  name: 'stopped',
  generation: 0,
  latest: 0,
  crashes: [],
  slow: false,
};

/** What a state hands on to the next. */
export function historyOf(state: EngineState): EngineHistory {
  return { generation: state.generation, latest: state.latest, crashes: state.crashes, slow: state.slow };
}
