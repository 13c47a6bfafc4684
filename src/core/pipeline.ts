import type { Client } from './admission/client.ts';
import { FairQueue } from './admission/fair-queue.ts';
import type { FairnessReport } from './admission/fair-queue.ts';
import { MemoryGuard } from './admission/memory-guard.ts';
import type { RateLimitState } from './admission/rate-limit-policy.ts';
import { RateLimits } from './admission/rate-limits.ts';
import type { Config } from './config.ts';
import { EngineCall } from './engine-call.ts';
import { EngineCalls } from './engine-calls.ts';
import type { EngineEndpoint, Replacement, ReplacementPlan } from './engine/engine-endpoint.ts';
import { EngineMemoryWatch } from './engine/engine-memory-watch.ts';
import type { LlameroError } from './errors.ts';
import type { CircuitStateName, LlameroEmitter } from './events.ts';
import type { ExchangeContext } from './exchange-context.ts';
import type { Exchange, PipelineRequest, RequestTracing, ResponseSink } from './exchange.ts';
import { IndexedList } from './indexed-list.ts';
import { CircuitBreaker } from './resilience/circuit-breaker.ts';
import { deadlineExceeded } from './resilience/deadlines.ts';
import { HangWatch, type WatchedExchange } from './resilience/hang-watch.ts';
import { PoisonList } from './resilience/poison-list.ts';
import { Quarantine } from './resilience/quarantine.ts';
import { RetryBudget } from './resilience/retry-budget.ts';
import { RunningExchange } from './running-exchange.ts';
import { SlotReclaimer } from './slot-reclaimer.ts';

const MEGABYTE = 1024 * 1024;

/** What can be shown of the path of requests at any time. */
export interface PipelineStatus {
  /** Requests between entrance and settlement, waiting ones included. */
  readonly inFlight: number;
  /** Requests that wait for a slot. */
  readonly queued: number;
  /** Requests that may wait (`maxQueue`). */
  readonly maxQueue: number;
  /** What llamero's own memory may be: `memoryLimit`, or a lower limit of its control group. */
  readonly memoryLimitBytes: number;
  /** Slots in use by requests at the engine. */
  readonly slotsInUse: number;
  readonly circuit: CircuitStateName;
  /** Clients whose use of their limits is remembered. */
  readonly limitedClients: number;
  readonly fairness: FairnessReport;
}

/**
 * The path of every request, of the library and of the gateway alike:
 *
 *     enter    limits of the client, fit of the prompt    entrance.ts
 *     admit    a slot, or a bounded wait for one          admission/fair-queue.ts
 *     place    the engine, or a bounded wait for it       engine/engine-endpoint.ts
 *     send     breaker, then the engine's own connections engine-call.ts
 *     relay    whole events, with backpressure            openai/event-framer.ts
 *     resend   what was lost before its first token       resending.ts
 *     settle   exactly once: slot, tokens, timers, event  running-exchange.ts
 */
export class Pipeline {
  readonly #context: ExchangeContext;
  readonly #maxQueue: number;
  readonly #running = new IndexedList<RunningExchange>();
  readonly #watches: readonly { start(): void; stop(): void }[];
  readonly #idleWaiters: (() => void)[] = [];

  constructor(engine: EngineEndpoint, config: Config, events: LlameroEmitter, tracing: RequestTracing | null = null) {
    this.#maxQueue = config.maxQueue;
    const queue = new FairQueue(config);
    const reclaimer = new SlotReclaimer(queue, engine);
    const calls = new EngineCalls();
    this.#context = {
      engine,
      queue,
      reclaimer,
      calls,
      limits: new RateLimits({ ...config.rateLimit, cleanup: config.cleanup }, events),
      memory: new MemoryGuard({
        memoryLimitBytes: config.memoryLimit * MEGABYTE,
        events,
        onHold: (held: boolean) => (held ? queue.hold() : queue.resume()),
      }),
      breaker: new CircuitBreaker(config.circuitBreaker, (from, to, cause) => {
        events.publish('circuit', { from, to, cause });
      }),
      retry: config.retry,
      // All that were at one engine may be sent again when it is lost.
      retryBudget: new RetryBudget({ floor: Math.max(10, config.maxConcurrentRequests) }),
      poison: new PoisonList(),
      quarantine: new Quarantine(),
      timeouts: config.timeouts,
      events,
      tracing,
      onSettled: (exchange) => this.#onSettled(exchange),
    };
    this.#watches = [this.#context.memory, this.#watchForHangs(config.timeouts), this.#watchMemory()];
    for (const watch of this.#watches) watch.start();
    events.on('engine-ready', ({ slots, replaces }) => {
      this.#context.breaker.reset();
      // The slots of the old engine are its own: the new one has as many for new requests.
      if (replaces !== undefined) reclaimer.forgetAll();
      queue.setSlots(slots, replaces !== undefined);
    });
    events.on('engine-exit', ({ generation }) => reclaimer.releaseOf(generation));
  }

  /** See {@link PipelineStatus}. */
  status(): PipelineStatus {
    const { queue, breaker, limits, memory } = this.#context;
    return {
      inFlight: this.#running.size,
      queued: queue.queued,
      maxQueue: this.#maxQueue,
      memoryLimitBytes: memory.limitBytes,
      slotsInUse: queue.inUse,
      circuit: breaker.state,
      limitedClients: limits.clients,
      fairness: queue.fairness(),
    };
  }

  /** What a client has left of its limits, as far as known without asking anybody. */
  limitsOf(client: Client): RateLimitState {
    return this.#context.limits.leftOf(client);
  }

  /** Sends one request. Never throws: everything that can happen reaches the sink. The sink may be called before this returns. */
  send(request: PipelineRequest, sink: ResponseSink): Exchange {
    const exchange = new RunningExchange(this.#context, request, sink);
    this.#running.add(exchange);
    exchange.begin();
    return exchange;
  }

  /** Ends every request with `reason`. */
  cancelAll(reason: LlameroError): void {
    for (const exchange of this.#running.list()) exchange.cancel(reason);
  }

  /** Resolves when no request is in flight any more. */
  async idle(): Promise<void> {
    if (this.#running.size > 0) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Ends every request with `reason`, and lets go of timers and stores. */
  async stop(reason: LlameroError): Promise<void> {
    this.cancelAll(reason);
    for (const watch of this.#watches) watch.stop();
    this.#context.reclaimer.releaseAll();
    await this.#context.limits.stop();
  }

  #watchForHangs({ idle, firstToken }: Config['timeouts']): HangWatch<WatchedExchange> {
    const { engine, calls, reclaimer } = this.#context;
    return new HangWatch<WatchedExchange>({
      idleMs: idle,
      firstTokenMs: firstToken,
      engine,
      // Requests at the engine show whether it lives; without any, what it still does for those who have gone.
      exchanges: () => {
        const atEngine = calls.list();
        return atEngine.some(({ phase }) => phase !== null) ? atEngine : reclaimer.watched();
      },
      onHang: (generation, silentMs, evidence) => engine.replaceHung(generation, silentMs, evidence),
      onSilent: (call) => {
        if (!(call instanceof EngineCall)) return;
        const isDecoding = call.phase === 'decode';
        call.giveUp(isDecoding ? deadlineExceeded('idle', idle) : deadlineExceeded('first token', firstToken));
      },
    });
  }

  /** A planned restart of the engine that loses no request. @throws LlameroError; see {@link EngineEndpoint.replace}. */
  restartEngine(plan: Omit<ReplacementPlan, 'drained' | 'slotsInUse'>): Promise<Replacement> {
    const { engine, calls } = this.#context;
    const drained = (generation: number) => calls.drained(generation);
    const slotsInUse = (generation: number) => calls.slotsInUse(generation);
    return engine.replace({ ...plan, drained, slotsInUse });
  }

  #watchMemory(): EngineMemoryWatch {
    const { engine, events } = this.#context;
    return new EngineMemoryWatch({
      engine,
      events,
      // How it ends is told by the event `engine-replacement`.
      onLimit: (generation) => this.restartEngine({ cause: 'memory_limit', generation, settings: null }),
    });
  }

  #onSettled(exchange: RunningExchange): void {
    this.#running.delete(exchange);
    if (this.#running.size > 0) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }
}
