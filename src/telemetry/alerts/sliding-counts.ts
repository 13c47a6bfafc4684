/** So many slices a window has at most: what it costs in memory does not depend on how often it is looked at. */
const MOST_SLICES = 240;

/** Options of {@link SlidingCounts}. */
export interface SlidingCountsOptions {
  /** Numbers that are counted side by side. */
  readonly columns: number;
  readonly windowMs: number;
  /** The window moves on in steps of about this length; ideally how often it is looked at. */
  readonly sliceMs: number;
  /** Now, on the clock of {@link SlidingCounts.advance}. */
  readonly nowMs: number;
}

/**
 * Counts of the last minutes. Counting is an addition or two and reads no clock: the window moves when its owner says so. Looked
 * at just before it moves, it holds what happened within the window, give or take a slice.
 */
export class SlidingCounts {
  readonly #columns: number;
  readonly #slices: number;
  readonly #sliceMs: number;
  readonly #counts: Float64Array;
  readonly #totals: Float64Array;
  #current = 0;
  #startedAtMs: number;

  constructor({ columns, windowMs, sliceMs, nowMs }: SlidingCountsOptions) {
    this.#columns = columns;
    this.#slices = Math.max(1, Math.min(MOST_SLICES, Math.ceil(windowMs / sliceMs)));
    this.#sliceMs = windowMs / this.#slices;
    this.#counts = new Float64Array(this.#slices * columns);
    this.#totals = new Float64Array(columns);
    this.#startedAtMs = nowMs;
  }

  /** Counts one, or as many as `amount` says. */
  add(column: number, amount = 1): void {
    const at = this.#current * this.#columns + column;
    this.#counts[at] = (this.#counts[at] ?? 0) + amount;
    this.#totals[column] = (this.#totals[column] ?? 0) + amount;
  }

  /** What was counted within the window. */
  total(column: number): number {
    return this.#totals[column] ?? 0;
  }

  /** All columns; to be read at once, since they go on counting. */
  totals(): Readonly<Float64Array> {
    return this.#totals;
  }

  /** Lets go of what is older than the window. */
  advance(nowMs: number): void {
    const steps = Math.floor((nowMs - this.#startedAtMs) / this.#sliceMs);
    if (steps <= 0) return;
    this.#startedAtMs += steps * this.#sliceMs;
    for (let step = 0; step < Math.min(steps, this.#slices); step += 1) this.#turn();
  }

  #turn(): void {
    this.#current = (this.#current + 1) % this.#slices;
    const first = this.#current * this.#columns;
    for (let column = 0; column < this.#columns; column += 1) {
      this.#totals[column] = (this.#totals[column] ?? 0) - (this.#counts[first + column] ?? 0);
      this.#counts[first + column] = 0;
    }
  }
}
