/** Weight of the newest request in the average. */
const NEWEST = 0.1;
/** Requests that must have been measured before anybody is told, or refused for, a time: the first ones wait for the engine to start. */
const ENOUGH = 5;

/** How long requests hold their slots, measured; the latest count most. */
export class SlotPace {
  #averageMs = 0;
  #measured = 0;

  /** A request held its slots for so long. */
  add(heldMs: number): void {
    this.#measured += 1;
    this.#averageMs += Math.max(NEWEST, 1 / this.#measured) * (heldMs - this.#averageMs);
  }

  /** Time from one slot becoming free to the next, in ms, when all `slots` are busy; null: not enough measured. */
  intervalMs(slots: number): number | null {
    return this.#measured < ENOUGH ? null : this.#averageMs / slots;
  }
}
