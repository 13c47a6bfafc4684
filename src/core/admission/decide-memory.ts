/** Share of the last ten seconds in which tasks waited for memory, in percent (Documentation/accounting/psi.rst of Linux). */
export interface MemoryPressure {
  /** At least one task waited. */
  readonly some: number;
  /** All tasks waited: nothing was done at all. */
  readonly full: number;
}

/** What one look at memory showed. */
export interface MemorySample {
  /** Resident memory of llamero itself. */
  readonly usedBytes: number;
  /** Worst pressure of machine and control group; null where the system does not tell. */
  readonly pressure: MemoryPressure | null;
}

/** What follows from all looks so far. */
export interface MemoryState {
  /** llamero itself is near its limit: new requests are refused. */
  readonly refusing: boolean;
  /** The machine is short of memory: nothing new is sent to an engine. */
  readonly held: boolean;
}

/** Where every guard begins. */
export const ENOUGH_MEMORY: MemoryState = { refusing: false, held: false };

/** Shares of `memoryLimit` from which on requests are refused, and below which they are taken again. */
const REFUSE_AT = 0.9;
const TAKE_BELOW = 0.85;
/**
 * Well below what makes systemd-oomd kill (`full` 60 % for 30 s): from here on a machine is slow already, and another
 * prompt makes it worse. Let go at half of it, so that the decision does not flutter.
 */
const HOLD_AT: MemoryPressure = { some: 40, full: 10 };
const LET_GO_BELOW: MemoryPressure = { some: 20, full: 5 };

/** What to do about memory, with hysteresis. Pure. */
export function decideMemory(state: MemoryState, sample: MemorySample, limitBytes: number): MemoryState {
  const { usedBytes, pressure } = sample;
  const refusing = usedBytes >= limitBytes * (state.refusing ? TAKE_BELOW : REFUSE_AT);
  const bound = state.held ? LET_GO_BELOW : HOLD_AT;
  const held = pressure !== null && (pressure.some >= bound.some || pressure.full >= bound.full);
  return refusing === state.refusing && held === state.held ? state : { refusing, held };
}

/** The worse of two pressures, number by number. */
export function worse(a: MemoryPressure | null, b: MemoryPressure | null): MemoryPressure | null {
  if (a === null || b === null) return a ?? b;
  return { some: Math.max(a.some, b.some), full: Math.max(a.full, b.full) };
}

/** Reads `/proc/pressure/memory`, or `memory.pressure` of a control group; null when it is neither. */
export function parsePressure(text: string): MemoryPressure | null {
  const some = /^some avg10=([\d.]+)/m.exec(text)?.[1];
  const full = /^full avg10=([\d.]+)/m.exec(text)?.[1];
  return some === undefined ? null : { some: Number(some), full: Number(full ?? 0) };
}
