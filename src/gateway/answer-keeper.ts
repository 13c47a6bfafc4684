import { IndexedList, type ListMember } from '../core/indexed-list.ts';

/** An answer that is waited for or on its way, as its keeper sees it. */
export interface KeptAnswer extends ListMember {
  /** Called once per interval until it is deleted. */
  tick(): void;
}

/** Holds all answers that are not fully delivered, and looks at them in turn with one timer. */
export class AnswerKeeper<Answer extends KeptAnswer> extends IndexedList<Answer> {
  readonly #intervalMs: number;
  #timer: NodeJS.Timeout | null = null;

  constructor(intervalMs: number) {
    super();
    this.#intervalMs = intervalMs;
  }

  override add(answer: Answer): void {
    super.add(answer);
    // It goes on while nothing is open: starting and ending it with each request would cost more.
    this.#timer ??= setInterval(() => this.#tick(), this.#intervalMs).unref();
  }

  /** Ends the timer. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  #tick(): void {
    for (const answer of this.list()) answer.tick();
  }
}
