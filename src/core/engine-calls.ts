import type { EngineCall } from './engine-call.ts';
import { IndexedList } from './indexed-list.ts';

interface Drain {
  readonly generation: number;
  readonly resolve: () => void;
}

/** The calls at the engines now, by the generation that works on them. */
export class EngineCalls {
  readonly #calls = new IndexedList<EngineCall>();
  #drains: Drain[] = [];

  list(): EngineCall[] {
    return this.#calls.list();
  }

  add(call: EngineCall): void {
    this.#calls.add(call);
  }

  /** Nothing happens to one that is not here. */
  remove(call: EngineCall): void {
    this.#calls.delete(call);
    if (this.#drains.length > 0) this.#noteDrained();
  }

  /** Slots that the calls at that generation need. */
  slotsInUse(generation: number): number {
    const atIt = this.list().filter((call) => call.generation === generation && call.request.route.needsSlot);
    return atIt.reduce((sum, { request }) => sum + request.work.sequences, 0);
  }

  /** Resolves when no call is at that generation any more. */
  drained(generation: number): Promise<void> {
    return new Promise((resolve) => {
      this.#drains.push({ generation, resolve });
      this.#noteDrained();
    });
  }

  #noteDrained(): void {
    const busy = new Set(this.list().map(({ generation }) => generation));
    for (const { generation, resolve } of this.#drains) if (!busy.has(generation)) resolve();
    this.#drains = this.#drains.filter(({ generation }) => busy.has(generation));
  }
}
