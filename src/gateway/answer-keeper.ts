/** An answer that is on its way, or waited for, as its keeper sees it. */
export interface KeptAnswer {
  /** Called once per interval until it is deleted. */
  tick(): void;
}

/** Looks at all answers that are not fully delivered, in turn, with one timer. */
export class AnswerKeeper {
  readonly #intervalMs: number;
  readonly #answers = new Set<KeptAnswer>();
  #timer: NodeJS.Timeout | null = null;

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** How many answers are waited for or on their way. */
  get size(): number {
    return this.#answers.size;
  }

  add(answer: KeptAnswer): void {
    this.#answers.add(answer);
    // It goes on while nothing is open: starting and ending it with each request would cost more.
    this.#timer ??= setInterval(() => this.#tick(), this.#intervalMs).unref();
  }

  delete(answer: KeptAnswer): void {
    this.#answers.delete(answer);
  }

  /** Ends the timer. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  #tick(): void {
    for (const answer of this.#answers) answer.tick();
  }
}
