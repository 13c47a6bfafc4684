/** What a slot works on, or worked on last, as `/slots` tells it. */
export interface SlotWork {
  readonly task: number;
  promptTokens: number;
  decoded: number;
}

/** A held slot; `release` may be called more than once. */
export interface HeldSlot {
  readonly id: number;
  readonly work: SlotWork;
  readonly release: () => void;
}

/** The slots of the double: first come, first served, without a bound on the queue, as in llama-server. */
export class SlotQueue {
  readonly #free: number[];
  readonly #waiting = new Set<(id: number) => void>();
  readonly #total: number;
  readonly #work: Array<SlotWork | null>;
  readonly #onChange: (load: { active: number; waiting: number }) => void;

  /** `onChange` is told whenever a slot is taken, released or waited for. */
  constructor(total: number, onChange: (load: { active: number; waiting: number }) => void) {
    this.#total = total;
    this.#onChange = onChange;
    this.#free = Array.from({ length: total }, (_, id) => id);
    this.#work = this.#free.map(() => null);
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  get active(): number {
    return this.#total - this.#free.length;
  }

  /** Whether each slot is busy, by id. */
  busy(): boolean[] {
    return Array.from({ length: this.#total }, (_, id) => !this.#free.includes(id));
  }

  /** What each slot works on, or worked on last; null before the first. */
  work(): ReadonlyArray<SlotWork | null> {
    return this.#work;
  }

  /** Waits for a slot for that task; null if the signal aborts first. */
  async acquire(task: number, signal: AbortSignal): Promise<HeldSlot | null> {
    if (signal.aborted) return null;
    const free = this.#free.shift();
    if (free !== undefined) return this.#held(free, task);
    const { promise, resolve } = Promise.withResolvers<HeldSlot | null>();
    const granted = (id: number): void => {
      signal.removeEventListener('abort', gone);
      resolve(this.#held(id, task));
    };
    const gone = (): void => {
      this.#waiting.delete(granted);
      this.#changed();
      resolve(null);
    };
    this.#waiting.add(granted);
    this.#changed();
    signal.addEventListener('abort', gone, { once: true });
    return await promise;
  }

  #held(id: number, task: number): HeldSlot {
    let held = true;
    const work: SlotWork = { task, promptTokens: 0, decoded: 0 };
    this.#work[id] = work;
    this.#changed();
    const release = (): void => {
      if (!held) return;
      held = false;
      const [next] = this.#waiting;
      if (next === undefined) {
        this.#free.push(id);
        this.#changed();
      } else {
        this.#waiting.delete(next);
        next(id);
      }
    };
    return { id, work, release };
  }

  #changed(): void {
    this.#onChange({ active: this.active, waiting: this.waiting });
  }
}
