import type { FairQueue, SlotWaiter } from './admission/fair-queue.ts';
import type { EngineEndpoint } from './engine/engine-endpoint.ts';
import type { WatchedExchange } from './resilience/watched-exchange.ts';

/**
 * When the engine is looked at after the latest slot was taken over, each in ms after the one before. A stream that is
 * cancelled is given up within a batch.
 */
const LOOKS_AFTER_STREAM_MS = [30, 70, 200, 700];
/**
 * llama-server notices that the client of a whole (not streamed) answer has gone only after a second in which no request
 * at all got a result (`tools/server/server-queue.cpp`). Asking more often would keep it from noticing.
 */
const LOOK_INTERVAL_MS = 1500;
const LOOK_TIMEOUT_MS = 1000;
/** An engine that others use as well may never look idle: then its slots are given back after this many looks. */
const MOST_LOOKS = 40;

/**
 * Keeps the slots of cancelled requests that the engine is still working on, and gives each back to the queue when the
 * engine shows it idle. Otherwise later requests would be sent into the engine's own queue, which nobody watches.
 */
export class SlotReclaimer {
  readonly #queue: FairQueue;
  readonly #engine: EngineEndpoint;
  /** Slots to give back, by the generation of the engine that holds them. */
  readonly #held = new Map<number, number>();
  #timer: NodeJS.Timeout | undefined;
  #dueAt = 0;
  /** Looks since the latest slot was taken over. */
  #looks = 0;
  /** Whether a request that was no stream is among them. */
  #patient = false;
  /** The held slots as the watch for hangs sees them; null while there are none. */
  #watched: (WatchedExchange & { lifeCount: number }) | null = null;

  constructor(queue: FairQueue, engine: EngineEndpoint) {
    this.#queue = queue;
    this.#engine = engine;
  }

  /**
   * What the watch for hangs has to see while no request is at the engine: slots that it works on for nobody. If it froze
   * then, no request would ever reach it again, and so nobody would notice. A look that is answered is a sign of life.
   */
  watched(): readonly WatchedExchange[] {
    return this.#watched === null ? [] : [this.#watched];
  }

  /** Takes over the slots of a request that was cancelled while that generation worked on it. */
  hold(waiter: SlotWaiter, generation: number, stream: boolean): void {
    const slots = this.#queue.detach(waiter);
    if (slots === 0) return;
    this.#held.set(generation, (this.#held.get(generation) ?? 0) + slots);
    if (this.#watched?.generation !== generation) {
      this.#watched = { generation, phase: 'whole', lifeCount: 0, watchedLifeCount: -1, watchedSilentMs: 0 };
    }
    this.#looks = 0;
    this.#patient ||= !stream;
    // A look that comes sooner anyway is not put off, or a series of cancellations would put it off for ever.
    if (this.#timer !== undefined && this.#dueAt <= performance.now() + this.#delayMs()) return;
    clearTimeout(this.#timer);
    this.#timer = this.#later();
  }

  /** That generation is gone: gives back what it held. */
  releaseOf(generation: number): void {
    if (this.#held.has(generation)) this.#release(generation, Infinity);
  }

  /** Another engine takes the requests, with slots of its own: those that are held here do not count any more. */
  forgetAll(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#patient = false;
    this.#held.clear();
    this.#watched = null;
  }

  /** Gives everything back at once. */
  releaseAll(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#patient = false;
    for (const generation of this.#held.keys()) this.#release(generation, Infinity);
  }

  #delayMs(): number {
    return (this.#patient ? undefined : LOOKS_AFTER_STREAM_MS[this.#looks]) ?? LOOK_INTERVAL_MS;
  }

  #later(): NodeJS.Timeout {
    const delayMs = this.#delayMs();
    this.#dueAt = performance.now() + delayMs;
    return setTimeout(() => void this.#look(), delayMs).unref();
  }

  async #look(): Promise<void> {
    this.#timer = undefined;
    const current = this.#engine.current();
    const looks = (this.#looks += 1);
    for (const generation of this.#held.keys()) {
      // While the engine hands over to another one there is none to ask.
      if (current === null && this.#engine.status().generation === generation && looks <= MOST_LOOKS) continue;
      if (generation !== current?.generation || looks > MOST_LOOKS) this.#release(generation, Infinity);
      else this.#release(generation, this.#queue.inUse - (await this.#busySlots()));
    }
    this.#patient &&= this.#held.size > 0;
    // Unless another slot was taken over meanwhile.
    if (this.#held.size > 0) this.#timer ??= this.#later();
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
      if (this.#watched !== null) this.#watched.lifeCount += 1;
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
    if (!this.#held.has(this.#watched?.generation ?? generation)) this.#watched = null;
    this.#queue.releaseSlots(count);
  }
}
