import { compareSlots, type SlotProgress } from './compare-slots.ts';
import { decideHang, type HangLimits, type HangLook, hangEvidence } from './decide-hang.ts';
import { isOverdue, sampleLife, type WatchedExchange } from './watched-exchange.ts';

export type { WatchedExchange } from './watched-exchange.ts';

const TICK_MS = 150;
/** With two ticks it stays below the second within which a hang has to be noticed. */
const LOOK_LIMIT_MS = 600;
/** Time in which llamero itself did not run (it was stopped, the machine slept) is nobody's silence. */
const LONGEST_TICK_MS = 1000;

/** The engine as the watch needs it; an `EngineEndpoint` is one. */
export interface WatchedEngine {
  /** Never rejects; null when that generation is no longer there. */
  vitalSigns(
    generation: number,
    limitMs: number,
  ): Promise<{ readonly slots: readonly SlotProgress[] | null; readonly process: HangLook['process'] } | null>;
}

export interface HangWatchOptions<Exchange extends WatchedExchange> extends HangLimits {
  readonly engine: WatchedEngine;
  /** The requests in flight. Asked for at each tick; any that are not at an engine are passed over. */
  readonly exchanges: () => readonly Exchange[];
  /** That generation hangs: replace it. Called once for a generation. */
  readonly onHang: (generation: number, silentMs: number, evidence: string) => void;
  /**
   * This request alone is silent for longer than it may (`idleMs` while it decodes, `firstTokenMs` before), while the engine
   * works on others: it has missed its deadline.
   */
  readonly onSilent: (exchange: Exchange, silentMs: number) => void;
  /** How often the requests are sampled; default 150 ms. */
  readonly tickMs?: number;
}

interface Glance<Exchange> {
  readonly slots: readonly SlotProgress[];
  /** Who was at the engine then. */
  readonly exchanges: readonly Exchange[];
}

/**
 * Finds an engine that hangs, by its silence. Samples counters of the requests a few times a second, so that the path of a
 * token costs one addition, and looks at the engine itself only when a request has been silent for `idleMs`. Owns its timer.
 */
export class HangWatch<Exchange extends WatchedExchange> {
  readonly #options: HangWatchOptions<Exchange>;
  #timer: NodeJS.Timeout | undefined;
  #tickedAt = 0;
  #generation = -1;
  #hungGeneration = -1;
  #engineSilenceMs = 0;
  #sinceLookMs = Infinity;
  #looking = false;
  /** The latest look at the slots since somebody fell silent. */
  #glance: Glance<Exchange> | null = null;

  constructor(options: HangWatchOptions<Exchange>) {
    this.#options = options;
  }

  /** Idempotent. The timer does not keep the process alive. */
  start(): void {
    if (this.#timer !== undefined) return;
    this.#tickedAt = performance.now();
    this.#timer = setInterval(() => this.#tick(), this.#options.tickMs ?? TICK_MS).unref();
  }

  /** Idempotent. A look under way ends without consequences. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tick(): void {
    const watched = this.#sample();
    if (this.#looking || this.#generation === this.#hungGeneration) return;
    const decision = this.#decide(watched, null);
    if (decision === 'alive') this.#glance = null;
    if (decision === 'ask') void this.#look(this.#generation);
  }

  /** Updates all silences. @returns the requests at the present generation. */
  #sample(): Exchange[] {
    const now = performance.now();
    const elapsedMs = Math.min(now - this.#tickedAt, LONGEST_TICK_MS);
    this.#tickedAt = now;
    const atEngine = this.#options.exchanges().filter((exchange) => exchange.phase !== null);
    // Requests of an older generation are about to learn of its end.
    const generation = atEngine.reduce((newest, exchange) => Math.max(newest, exchange.generation), -1);
    const watched = atEngine.filter((exchange) => exchange.generation === generation);
    if (generation !== this.#generation) this.#beginWith(generation);
    this.#sinceLookMs += elapsedMs;
    const anyLife = sampleLife(watched, elapsedMs);
    this.#engineSilenceMs = anyLife ? 0 : this.#engineSilenceMs + elapsedMs;
    return watched;
  }

  #beginWith(generation: number): void {
    this.#generation = generation;
    this.#engineSilenceMs = 0;
    this.#sinceLookMs = Infinity;
    this.#glance = null;
  }

  #decide(watched: readonly Exchange[], look: HangLook | null): ReturnType<typeof decideHang> {
    const { idleMs } = this.#options;
    return decideHang(
      {
        longestSilenceMs: watched.reduce((longest, { watchedSilentMs }) => Math.max(longest, watchedSilentMs), -1),
        engineSilenceMs: this.#engineSilenceMs,
        decoding: watched.some((one) => one.phase === 'decode' && one.watchedSilentMs >= idleMs),
        reading: watched.some((one) => one.phase !== 'decode'),
        sinceLookMs: this.#sinceLookMs,
        look,
      },
      this.#options,
    );
  }

  async #look(generation: number): Promise<void> {
    this.#looking = true;
    const signs = await this.#options.engine.vitalSigns(generation, LOOK_LIMIT_MS);
    this.#looking = false;
    // A stopped process is not asked, and so not disturbed: it is looked at again at once.
    this.#sinceLookMs = signs?.process === 'frozen' ? Infinity : 0;
    if (this.#timer === undefined || generation !== this.#generation || signs === null) return;
    const watched = this.#sample();
    if (generation !== this.#generation) return;
    const before = this.#glance;
    const compared = before === null || signs.slots === null ? null : compareSlots(before.slots, signs.slots);
    if (signs.slots !== null) this.#glance = { slots: signs.slots, exchanges: watched };
    const look: HangLook = { slots: slotsVerdict(signs.slots, compared?.advanced), process: signs.process };
    if (this.#decide(watched, look) === 'hang') {
      this.#hungGeneration = generation;
      this.#options.onHang(generation, this.#engineSilenceMs, hangEvidence(look));
      return;
    }
    if (before !== null && compared?.advanced === true) this.#onAdvance(watched, before, compared.advancing);
    else this.#reportLeftBehind(watched);
  }

  /** The engine works. As many slots as requests: on all of them, even if it shows nothing of some. Fewer: some stand still. */
  #onAdvance(watched: readonly Exchange[], before: Glance<Exchange>, advancing: number): void {
    this.#engineSilenceMs = 0;
    const steady = watched.filter((exchange) => before.exchanges.includes(exchange));
    const stuck = steady.length - advancing;
    if (stuck > 0) {
      const overdue = steady.filter((exchange) => isOverdue(exchange, this.#options, 0));
      overdue.sort((a, b) => b.watchedSilentMs - a.watchedSilentMs);
      for (const exchange of overdue.slice(0, stuck)) this.#report(exchange);
    } else {
      for (const exchange of watched) exchange.watchedSilentMs = 0;
    }
  }

  /** Without counters, the events of others tell that the engine works: those that came after a deadline had passed. */
  #reportLeftBehind(watched: readonly Exchange[]): void {
    for (const exchange of watched) {
      if (isOverdue(exchange, this.#options, this.#engineSilenceMs)) this.#report(exchange);
    }
  }

  #report(exchange: Exchange): void {
    const silentMs = exchange.watchedSilentMs;
    exchange.watchedSilentMs = 0;
    this.#options.onSilent(exchange, silentMs);
  }
}

function slotsVerdict(slots: readonly SlotProgress[] | null, advanced: boolean | undefined): HangLook['slots'] {
  if (slots === null) return 'silent';
  if (advanced === undefined) return 'first';
  return advanced ? 'advanced' : 'unchanged';
}
