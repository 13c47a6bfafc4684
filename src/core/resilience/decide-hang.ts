/** What a look at an engine showed, against the look before. */
export interface HangLook {
  /**
   * The counters of `/slots`: `advanced`; `unchanged`; `first`, when there is nothing to compare with; `silent`, when it was not
   * answered in time, or not at all as with `--no-slots`.
   */
  readonly slots: 'advanced' | 'unchanged' | 'first' | 'silent';
  /** What the process did meanwhile; `unknown` where the system does not tell. */
  readonly process: 'frozen' | 'idle' | 'busy' | 'unknown';
}

/** All that the decision rests on. Durations in ms. */
export interface HangObservation {
  /** Of the request at the engine that has been silent for longest. */
  readonly longestSilenceMs: number;
  /** Since the latest sign of life of the engine: an event for any request, or counters that advanced. */
  readonly engineSilenceMs: number;
  /** Some request that is silent for longer than `idleMs` had tokens already. */
  readonly decoding: boolean;
  /** Some request may be in the middle of its prompt, which can keep the engine busy for long in one piece. */
  readonly reading: boolean;
  /** Since the latest look ended. */
  readonly sinceLookMs: number;
  /** The look that has just ended; null between looks. */
  readonly look: HangLook | null;
}

/** Limits of the decision, in ms. */
export interface HangLimits {
  /** Longest silence that is not looked into (`timeouts.idle`). */
  readonly idleMs: number;
  /** Longest time without a sign of life, however busy the process (`timeouts.firstToken`). */
  readonly firstTokenMs: number;
  /** Between looks; default {@link LOOK_INTERVAL_MS}. */
  readonly lookIntervalMs?: number;
}

/** `alive`: nothing to do. `ask`: look at the engine. `wait`: not clear yet. `hang`: replace it. */
export type HangDecision = 'alive' | 'ask' | 'wait' | 'hang';

/**
 * Asking `/slots` more often keeps llama-server from noticing that the client of a whole answer has gone
 * (`tools/server/server-queue.cpp` looks for that after a second without any result).
 */
export const LOOK_INTERVAL_MS = 1500;

/**
 * Whether an engine hangs. `/health` has no say, and neither have the comments that keep a stream open: both come from HTTP
 * threads that go on while nothing is decoded. Pure.
 */
export function decideHang(seen: HangObservation, limits: HangLimits): HangDecision {
  const { idleMs, firstTokenMs, lookIntervalMs = LOOK_INTERVAL_MS } = limits;
  if (seen.longestSilenceMs < idleMs) return 'alive';
  const { look } = seen;
  if (look === null) return seen.sinceLookMs >= lookIntervalMs ? 'ask' : 'wait';
  // A process that is stopped for a moment, by a debugger or a snapshot, goes on where it was.
  if (look.process === 'frozen') return seen.engineSilenceMs >= idleMs ? 'hang' : 'wait';
  if (look.slots === 'advanced') return 'alive';
  if (seen.engineSilenceMs < idleMs) return 'wait';
  const patience = look.slots === 'silent' ? silentSlotsPatience(seen, look) : 'bounded';
  if (patience === 'none') return 'hang';
  return look.slots !== 'first' && seen.engineSilenceMs >= Math.max(idleMs, firstTokenMs) ? 'hang' : 'wait';
}

/** Whether an engine that does not answer `/slots` may be busy with a large batch. */
function silentSlotsPatience(seen: HangObservation, { process }: HangLook): 'none' | 'bounded' {
  if (process === 'idle') return 'none';
  // A batch of decoding alone is short; only a prompt that is read beside it, by a process that works, explains the silence.
  if (seen.decoding) return seen.reading && process === 'busy' ? 'bounded' : 'none';
  return 'bounded';
}

/** What a look showed, in words for the log. */
export function hangEvidence({ slots, process }: HangLook): string {
  if (process === 'frozen') return 'its process is stopped';
  const work = { idle: ', and its process does nothing', busy: ', although its process is busy', unknown: '' }[process];
  return slots === 'silent' ? `/slots is not answered${work}` : `the counters of /slots stand still${work}`;
}
