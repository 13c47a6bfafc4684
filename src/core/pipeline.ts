import type { Config } from './config.ts';
import type { EngineEndpoint } from './engine/engine-endpoint.ts';
import type { LlameroError } from './errors.ts';
import type { LlameroEmitter } from './events.ts';
import { SlotGate } from './admission/slot-gate.ts';
import type { Exchange, PipelineRequest, ResponseSink } from './exchange.ts';
import { type ExchangeContext, RunningExchange } from './running-exchange.ts';
import { RunningExchanges } from './running-exchanges.ts';
import { SlotReclaimer } from './slot-reclaimer.ts';

/** What the pipeline needs of the configuration. */
export type PipelineConfig = Pick<Config, 'maxConcurrentRequests' | 'maxQueue' | 'timeouts'>;

/**
 * The path of every request, of the library and of the gateway alike:
 *
 *     admit    a slot, or a bounded wait for one          slot-gate.ts
 *     place    the engine, or a bounded wait for it       engine-endpoint.ts
 *     send     over the engine's own connections
 *     relay    whole events, with backpressure            event-framer.ts
 *     settle   exactly once: slot, timers, event          running-exchange.ts
 */
export class Pipeline {
  readonly #context: ExchangeContext;
  readonly #running = new RunningExchanges();
  readonly #idleWaiters: (() => void)[] = [];

  constructor(engine: EngineEndpoint, config: PipelineConfig, events: LlameroEmitter) {
    const gate = new SlotGate(config);
    const reclaimer = new SlotReclaimer(gate, engine);
    const onSettled = (exchange: RunningExchange): void => this.#onSettled(exchange);
    this.#context = { engine, gate, reclaimer, timeouts: config.timeouts, events, onSettled };
    events.on('engine-ready', ({ slots }) => gate.setSlots(slots));
    events.on('engine-exit', () => reclaimer.releaseAll());
  }

  /** Requests between entrance and settlement, waiting ones included. */
  get inFlight(): number {
    return this.#running.size;
  }

  /** Requests that wait for a slot. */
  get queued(): number {
    return this.#context.gate.queued;
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

  #onSettled(exchange: RunningExchange): void {
    this.#running.remove(exchange);
    if (this.#running.size > 0) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }
}
