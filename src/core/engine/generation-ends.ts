import type { ExitCause } from './exit-cause.ts';

/** A request asks within moments; at most two generations live at once. */
const MOST_REMEMBERED = 8;

/** Why the latest generations ended. */
export class GenerationEnds {
  readonly #causes = new Map<number, ExitCause>();

  note(generation: number, cause: ExitCause): void {
    this.#causes.set(generation, cause);
    const oldest = this.#causes.keys().next().value;
    if (this.#causes.size > MOST_REMEMBERED && oldest !== undefined) this.#causes.delete(oldest);
  }

  /** null while it lives, or when it is long gone. */
  causeOf(generation: number): ExitCause | null {
    return this.#causes.get(generation) ?? null;
  }
}
