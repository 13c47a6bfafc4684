import type { Fault } from './plan.ts';

/** An invariant that was broken. */
export interface Violation {
  /** Since the start of the run. */
  readonly atMs: number;
  readonly what: string;
  /** Id of the request; null: none is to blame. */
  readonly request: string | null;
}

/** One thing that was done to the engine. Times in ms. */
export interface FaultRecord {
  readonly signal: Fault['signal'];
  readonly atMs: number;
  readonly generation: number;
  /** Until llamero said that the engine is lost or hangs; null: it did not. */
  readonly noticedMs: number | null;
  /** Until the first token of the next engine; null: there was none before the end. */
  readonly recoveredMs: number | null;
}

/** A fault explains failures for so long: until it is noticed, the engine is back, and the breaker has closed. */
const AFTERMATH_MS = 12_000;
const MOST_VIOLATIONS = 200;

/** Everything that is written down during a run. */
export class Ledger {
  readonly violations: Violation[] = [];
  readonly faults: FaultRecord[] = [];
  /** By name of the outcome. */
  readonly outcomes = new Map<string, number>();
  /** Times to first token of the light client, in ms. */
  readonly lightFirstTokenMs: number[] = [];
  readonly residentMb: number[] = [];
  /** Samples of the engine's own queue, and the longest that it was. */
  readonly deferred = { samples: 0, most: 0 };
  /** Further figures, by name. */
  readonly notes: Record<string, number> = {};
  readonly #startedAt = performance.now();
  readonly #faultTimes: number[] = [];
  #tokenWaiters: (() => void)[] = [];

  violation(what: string, request: string | null = null): void {
    if (this.violations.length >= MOST_VIOLATIONS) return;
    this.violations.push({ atMs: Math.round(performance.now() - this.#startedAt), what, request });
  }

  count(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }

  /** A fault happens now. */
  faultBegins(): number {
    const now = performance.now();
    this.#faultTimes.push(now);
    return now;
  }

  faultEnded(record: Omit<FaultRecord, 'atMs'>, at: number): void {
    this.faults.push({ ...record, atMs: Math.round(at - this.#startedAt) });
  }

  /** Whether a fault may be why a request failed that ran from `from` to `to`. */
  explains(from: number, to: number): boolean {
    return this.#faultTimes.some((at) => at <= to && at >= from - AFTERMATH_MS);
  }

  /** A client was given a token. */
  tokenCame(): void {
    for (const wake of this.#tokenWaiters.splice(0)) wake();
  }

  /** Resolves at the next token, or when `limitMs` passed. @returns whether one came. */
  nextToken(limitMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#tokenWaiters = this.#tokenWaiters.filter((waiter) => waiter !== wake);
        resolve(false);
      }, limitMs);
      const wake = () => {
        clearTimeout(timer);
        resolve(true);
      };
      this.#tokenWaiters.push(wake);
    });
  }
}
