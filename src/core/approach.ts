import type { Client } from './admission/client.ts';
import type { QueuePlace, SlotWaiter } from './admission/fair-place.ts';
import type { RateLimitState } from './admission/rate-limit-policy.ts';
import type { EngineCall } from './engine-call.ts';
import type { ReadyEngine } from './engine/engine-endpoint.ts';
import { type Entry, enter, guessOf, needsEntrance } from './entrance.ts';
import { type LlameroError, toLlameroError } from './errors.ts';
import type { ExchangeContext } from './exchange-context.ts';
import type { PipelineRequest, ResponseSink } from './exchange.ts';
import type { Resending } from './resending.ts';
import type { QuarantinedRequest } from './resilience/quarantine.ts';
import { Waiting, waitedInVain } from './waiting.ts';

/** Whose request approaches an engine. */
export interface ApproachOwner {
  /** All is had that has to be had: the request may go to this engine now. */
  onEngine(engine: ReadyEngine): void;
  /** It ends on the way. */
  onDenied(error: LlameroError): void;
  /** What is left of the limit of the whole request, in ms; null: none. */
  timeLeftMs(): number | null;
}

type Phase =
  | 'new'
  | 'entering'
  | 'queued'
  | 'moving'
  | 'awaiting-engine'
  | 'quarantined'
  | 'delayed'
  | 'through'
  | 'ended';

/**
 * The way of one request to an engine: limits of its client, fit of its prompt, a slot, its turn where it is a suspect, an
 * engine; and there again when an engine was lost. Owner of the slot, the place in the queue and all waiting.
 */
export class Approach implements SlotWaiter, QuarantinedRequest {
  readonly client: Client;
  readonly slots: number;
  promptTokens = 0;
  place: QueuePlace | null = null;
  readonly #context: ExchangeContext;
  readonly #request: PipelineRequest;
  readonly #sink: ResponseSink;
  readonly #resending: Resending;
  readonly #owner: ApproachOwner;
  readonly #waiting: Waiting;
  #phase: Phase = 'new';
  #entry: Entry | null = null;
  #holdsSlot = false;
  #inQuarantine = false;
  #delayTimer: NodeJS.Timeout | undefined;

  constructor(
    context: ExchangeContext,
    request: PipelineRequest,
    sink: ResponseSink,
    resending: Resending,
    owner: ApproachOwner,
  ) {
    this.#context = context;
    this.#request = request;
    this.#sink = sink;
    this.#resending = resending;
    this.#owner = owner;
    this.client = request.client;
    this.slots = request.work.sequences;
    this.#waiting = new Waiting(context.timeouts.queue, () => this.#deny(waitedInVain(context, this)));
  }

  /** What the request has been allowed; null where nothing had to be asked, or has been yet. */
  get entry(): Entry | null {
    return this.#entry;
  }

  /** What it has waited for a slot, an engine or a store, in ms. */
  get waitedMs(): number {
    return this.#waiting.waitedMs;
  }

  begin(): void {
    const { memory, breaker, engine } = this.#context;
    try {
      const refusal = memory.refusal();
      if (refusal !== null) throw refusal;
      // While the engine is away there is nothing to protect: requests wait for the next one.
      if (this.#request.route.needsSlot && engine.current() !== null) breaker.check();
      this.#resending.inspect();
      if (needsEntrance(this.#context, this.#request)) void this.#enter();
      else {
        this.promptTokens = guessOf(this.#context, this.#request);
        this.#queueUp();
      }
    } catch (error) {
      this.#deny(toLlameroError(error));
    }
  }

  /** To an engine once more, after `delayMs`, with the slot that it has. */
  again(delayMs: number): void {
    this.#phase = 'delayed';
    if (delayMs === 0) this.#toEngine();
    else this.#delayTimer = setTimeout(() => this.#toEngine(), delayMs);
  }

  /** Its place in the queue, 1 for the next; null when it does not wait for a slot. */
  queuePosition(): number | null {
    return this.#phase === 'queued' ? this.#context.queue.positionOf(this) : null;
  }

  /** The request has ended: ends all waiting. */
  end(error: LlameroError | null): void {
    const isAwaiting = this.#phase === 'entering' || this.#phase === 'awaiting-engine';
    this.#phase = 'ended';
    clearTimeout(this.#delayTimer);
    if (isAwaiting) this.#waiting.abort(error);
    else this.#waiting.end();
    if (this.#inQuarantine) this.#context.quarantine.leave(this);
  }

  /** Gives back the slot, or the place in the queue. @param call the one that the engine may still be at work on. */
  giveBackSlot(call: EngineCall | null): void {
    const { queue, reclaimer, engine } = this.#context;
    if (!this.#request.route.needsSlot) return;
    if (!this.#holdsSlot) queue.leave(this);
    // Cancelled, or given up, while the engine works on it: that goes on for a while.
    else if (call !== null && call.generation === engine.current()?.generation) {
      reclaimer.hold(this, call.generation, this.#request.stream);
    } else queue.release(this);
    this.#holdsSlot = false;
  }

  onSlot(): boolean {
    if (this.#phase !== 'queued' && this.#phase !== 'moving') return false;
    this.#holdsSlot = true;
    this.#toEngine();
    return true;
  }

  onRefused(error: LlameroError): void {
    this.#deny(error);
  }

  onTurn(): void {
    if (this.#phase !== 'quarantined') return;
    this.#toEngine();
  }

  async #enter(): Promise<void> {
    this.#phase = 'entering';
    try {
      const entry = await enter(this.#context, this.#request, () => this.#waiting.signal());
      if (this.#hasEnded()) {
        entry.grant?.refund();
        return;
      }
      this.#entry = entry;
      this.promptTokens = entry.promptTokens;
      if (entry.grant !== null) this.#sink.onLimits?.(entry.grant.state);
      this.#queueUp();
    } catch (thrown) {
      const error = toLlameroError(thrown);
      if (this.#hasEnded()) return;
      const limits = error.details['limits'] as RateLimitState | undefined;
      if (limits !== undefined) this.#sink.onLimits?.(limits);
      this.#deny(error);
    }
  }

  /** @throws LlameroError `queue_full` or `queue_timeout`. */
  #queueUp(): void {
    const { queue } = this.#context;
    this.#holdsSlot = !this.#request.route.needsSlot || queue.acquire(this, this.#waitLimitMs());
    if (this.#holdsSlot) {
      this.#toEngine();
      return;
    }
    this.#phase = 'queued';
    this.#waiting.begin();
    this.#sink.onQueued?.(queue.positionOf(this));
  }

  #waitLimitMs(): number {
    return Math.min(this.#context.timeouts.queue, Math.floor(this.#owner.timeLeftMs() ?? Infinity));
  }

  #toEngine(): void {
    const engine = this.#context.engine.current();
    if (engine === null) void this.#awaitEngine();
    else this.#arrive(engine);
  }

  async #awaitEngine(): Promise<void> {
    this.#phase = 'awaiting-engine';
    try {
      const ready = await this.#context.engine.ready(this.#waiting.signal());
      if (this.#phase === 'awaiting-engine') this.#arrive(ready);
    } catch (error) {
      this.#deny(toLlameroError(error));
    }
  }

  #arrive(engine: ReadyEngine): void {
    if (this.#holdsSlot && !this.#hasSlotOfPresentEngine()) return;
    try {
      if (!this.#mayRunBesideOthers()) return;
    } catch (error) {
      this.#deny(toLlameroError(error));
      return;
    }
    this.#waiting.end();
    this.#phase = 'through';
    this.#owner.onEngine(engine);
  }

  /**
   * Its slot may be one of an engine that has been replaced. It runs already, so it is not held to the limit of waiting: its turn comes
   * as soon as a slot of the next engine is free.
   */
  #hasSlotOfPresentEngine(): boolean {
    const { queue } = this.#context;
    if (!queue.isOutdated(this)) return true;
    this.#waiting.end();
    this.#phase = 'moving';
    return queue.move(this);
  }

  /**
   * Suspects run one at a time; one may have become known as such while it waited.
   * @returns false when it has to wait for its turn.
   * @throws LlameroError `poisonous_request`.
   */
  #mayRunBesideOthers(): boolean {
    this.#resending.inspect();
    if (!this.#resending.isSuspect || this.#inQuarantine) return true;
    this.#inQuarantine = true;
    if (this.#context.quarantine.enter(this)) return true;
    this.#phase = 'quarantined';
    this.#waiting.begin();
    return false;
  }

  #hasEnded(): boolean {
    return this.#phase === 'ended';
  }

  #deny(error: LlameroError): void {
    if (!this.#hasEnded()) this.#owner.onDenied(error);
  }
}
