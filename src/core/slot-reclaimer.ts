import type { SlotGate } from './admission/slot-gate.ts';
import type { EngineEndpoint } from './engine/engine-endpoint.ts';

/**
 * llama-server notices that the client of a whole (not streamed) answer has gone only after a second in which no request
 * at all got a result (`tools/server/server-queue.cpp`). Asking more often would keep it from noticing.
 */
const LOOK_INTERVAL_MS = 1500;
const LOOK_TIMEOUT_MS = 1000;
/** An engine that others use as well may never look idle: then its slots are given back after this many looks. */
const MOST_LOOKS = 40;

/**
 * Keeps the slots of cancelled requests that the engine is still working on, and gives each back to the gate when the
 * engine shows it idle. Otherwise later requests would be sent into the engine's own queue, which nobody watches.
 */
export class SlotReclaimer {
  readonly #gate: SlotGate;
  readonly #engine: EngineEndpoint;
  /** Slots to give back, by the generation of the engine that holds them. */
  readonly #held = new Map<number, number>();
  #timer: NodeJS.Timeout | undefined;
  /** Looks since the latest slot was taken over. */
  #looks = 0;

  constructor(gate: SlotGate, engine: EngineEndpoint) {
    this.#gate = gate;
    this.#engine = engine;
  }

  /** Takes over a slot of the gate whose request was cancelled while that generation worked on it. */
  hold(generation: number): void {
    this.#held.set(generation, (this.#held.get(generation) ?? 0) + 1);
    this.#looks = 0;
    this.#timer ??= this.#later();
  }

  /** Gives everything back at once: the engine is going, or came anew. */
  releaseAll(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const generation of this.#held.keys()) this.#release(generation, Infinity);
  }

  #later(): NodeJS.Timeout {
    return setTimeout(() => void this.#look(), LOOK_INTERVAL_MS).unref();
  }

  async #look(): Promise<void> {
    const current = this.#engine.current();
    this.#looks += 1;
    for (const generation of this.#held.keys()) {
      if (generation !== current?.generation || this.#looks > MOST_LOOKS) this.#release(generation, Infinity);
      else this.#release(generation, this.#gate.inUse - (await this.#busySlots()));
    }
    this.#timer = this.#held.size > 0 ? this.#later() : undefined;
  }

  /** Slots at work; when the engine does not tell, all are taken to be. */
  async #busySlots(): Promise<number> {
    const current = this.#engine.current();
    try {
      const answer = await current?.dispatcher.request({
        path: '/slots',
        method: 'GET',
        headers: current.headers,
        headersTimeout: LOOK_TIMEOUT_MS,
        bodyTimeout: LOOK_TIMEOUT_MS,
      });
      const slots = (await answer?.body.json()) as { is_processing?: boolean }[];
      return slots.filter((slot) => slot.is_processing === true).length;
    } catch {
      // It hangs or is just going away; the next look sees more.
      return Infinity;
    }
  }

  #release(generation: number, atMost: number): void {
    const held = this.#held.get(generation) ?? 0;
    const count = Math.min(held, Math.max(0, atMost));
    if (count === held) this.#held.delete(generation);
    else this.#held.set(generation, held - count);
    for (let index = 0; index < count; index++) this.#gate.release();
  }
}
