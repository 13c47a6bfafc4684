import type { SettledRequest } from '../events.ts';

/** What {@link RequestCounters} has seen, of a whole provider since it was made. */
export interface ProviderMetrics {
  /** Of this process, in bytes, as `process.memoryUsage()` tells it; the engine is a process of its own. */
  readonly memoryUsage: NodeJS.MemoryUsage;
  /** Requests in flight, those that wait for a slot included. */
  readonly activeRequests: number;
  /** Requests that failed, of all that have ended, from 0 to 1. Cancelled ones count as ended, not as failed. */
  readonly errorRate: number;
  /** Mean time from entering to the end of the requests that were completed, in ms; 0 before the first. */
  readonly avgLatency: number;
  /**
   * Tokens that requests have generated, for each second that those requests spent at the engine: how fast a single one is. 0 before the
   * first. Requests that run at once each count their own time; the throughput of all together is `rate(llamero_tokens_total)`.
   */
  readonly tokensPerSecond: number;
}

/** Plain sums over the requests of one provider. */
export class RequestCounters {
  #ended = 0;
  #failed = 0;
  #completed = 0;
  #latencyMs = 0;
  #tokens = 0;
  #generatingMs = 0;

  /** A request has ended. */
  settled({ outcome, totalMs, queueMs, usage, generatedTokens }: SettledRequest): void {
    this.#ended += 1;
    if (outcome === 'failed') this.#failed += 1;
    if (outcome === 'completed') {
      this.#completed += 1;
      this.#latencyMs += totalMs;
    }
    const tokens = usage?.completionTokens ?? generatedTokens;
    if (tokens === 0) return;
    this.#tokens += tokens;
    this.#generatingMs += totalMs - queueMs;
  }

  metrics(activeRequests: number): ProviderMetrics {
    return {
      memoryUsage: process.memoryUsage(),
      activeRequests,
      errorRate: ratio(this.#failed, this.#ended),
      avgLatency: ratio(this.#latencyMs, this.#completed),
      tokensPerSecond: ratio(this.#tokens * 1000, this.#generatingMs),
    };
  }
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
