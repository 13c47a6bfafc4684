import type { FairQueue } from './admission/fair-queue.ts';
import type { MemoryGuard } from './admission/memory-guard.ts';
import type { RateLimits } from './admission/rate-limits.ts';
import type { Config } from './config.ts';
import type { EngineCalls } from './engine-calls.ts';
import type { EngineEndpoint } from './engine/engine-endpoint.ts';
import type { LlameroEmitter } from './events.ts';
import type { RequestTracing } from './exchange.ts';
import type { CircuitBreaker } from './resilience/circuit-breaker.ts';
import type { Quarantine } from './resilience/quarantine.ts';
import type { PoisonList } from './resilience/poison-list.ts';
import type { RetryBudget } from './resilience/retry-budget.ts';
import type { RunningExchange } from './running-exchange.ts';
import type { SlotReclaimer } from './slot-reclaimer.ts';

/** What all exchanges of one pipeline share; each part is the one owner of what it decides about. */
export interface ExchangeContext {
  readonly engine: EngineEndpoint;
  readonly limits: RateLimits;
  readonly memory: MemoryGuard;
  readonly queue: FairQueue;
  readonly reclaimer: SlotReclaimer;
  readonly breaker: CircuitBreaker;
  readonly retry: Config['retry'];
  readonly retryBudget: RetryBudget;
  readonly poison: PoisonList;
  readonly quarantine: Quarantine;
  readonly calls: EngineCalls;
  readonly timeouts: Config['timeouts'];
  readonly events: LlameroEmitter;
  /** null where no requests are traced. */
  readonly tracing: RequestTracing | null;
  readonly onSettled: (exchange: RunningExchange) => void;
}
