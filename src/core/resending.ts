import type { EngineCall } from './engine-call.ts';
import type { LlameroError } from './errors.ts';
import type { ExchangeContext } from './exchange-context.ts';
import type { PipelineRequest } from './exchange.ts';
import { lossOf } from './lost-connection.ts';
import { isBlamedOnRequests, isPlannedEnd } from './resilience/blame.ts';
import { type Fingerprint, fingerprintOf } from './resilience/poison-list.ts';
import { decideRetry } from './resilience/retry-policy.ts';

/** Why a request is sent again whose engine was replaced on purpose. */
const ENGINE_REPLACED = 'engine_replaced';

/** One failed sending, as its exchange saw it. */
export interface Failure {
  readonly error: LlameroError;
  /** What the connection broke with; null when the engine answered. */
  readonly lost: NodeJS.ErrnoException | null;
  readonly call: EngineCall | null;
  /** In ms; null: no limit. */
  readonly deadlineLeftMs: number | null;
}

/** How often one request was sent and lost, whether the engine died of it, and whether it is sent again. */
export class Resending {
  readonly #context: ExchangeContext;
  readonly #request: PipelineRequest;
  #sends = 0;
  #losses = 0;
  /** Sendings to engines that were replaced on purpose, in its middle: they used up nothing. */
  #moves = 0;
  #strikes = 0;
  /** Of a request that was at an engine which died. */
  #fingerprint: Fingerprint | null = null;

  constructor(context: ExchangeContext, request: PipelineRequest) {
    this.#context = context;
    this.#request = request;
  }

  get wasSent(): boolean {
    return this.#sends > 0;
  }

  /** How often it was sent, continuations of its stream included. */
  get sends(): number {
    return this.#sends;
  }

  /** Whether it may be what the engine dies of, and so has to run alone. */
  get isSuspect(): boolean {
    return this.#fingerprint !== null;
  }

  /** Looks whether it is known for having ended engines. @throws LlameroError `poisonous_request`. */
  inspect(): void {
    const { poison } = this.#context;
    this.#fingerprint = poison.inspect(this.#request.route.name, this.#request.body) ?? this.#fingerprint;
  }

  /** Whether engines died of it too often, so that no other may get it. */
  get isRefused(): boolean {
    return this.#strikes > 1;
  }

  /** Its stream goes on with another engine, for the n-th time. */
  goesOn(error: LlameroError, attempt: number): void {
    const { id, route, continuation } = this.#request;
    const { cause: named } = error.details;
    const cause = typeof named === 'string' ? named : error.code;
    const way = continuation?.way ?? 'replay';
    this.#context.events.publish('stream-continued', { id, route: route.name, attempt, way, cause });
  }

  countSend(): void {
    this.#sends += 1;
    if (this.#sends === 1) this.#context.retryBudget.countRequest();
  }

  /** The engine answered it, and lived. */
  answered(): void {
    if (this.#fingerprint !== null) this.#context.poison.clear(this.#fingerprint);
  }

  /** The engine was lost while it worked on the request, maybe because of it. */
  lostEngine(generation: number, explanation: LlameroError): void {
    if (isPlannedEnd(explanation.details['cause'])) return;
    this.#losses += 1;
    const { id, route, body } = this.#request;
    if (body === null || !isBlamedOnRequests(explanation.details['cause'])) return;
    this.#fingerprint ??= fingerprintOf(route.name, body);
    const { strikes, refused } = this.#context.poison.strike(this.#fingerprint, generation);
    this.#strikes = strikes;
    this.#losses = Math.max(this.#losses, strikes);
    this.#context.events.publish('request-suspect', { id, route: route.name, strikes, refused });
  }

  /** @returns after how many ms it is sent again; null: it is not. */
  delayOf({ error, lost, call, deadlineLeftMs }: Failure): number | null {
    const { engine, retry, retryBudget, events } = this.#context;
    const { id, route } = this.#request;
    if (lost !== null && isPlannedEnd(error.details['cause'])) {
      this.#moves += 1;
      events.publish('retry', { id, route: route.name, attempt: this.#sends, delayMs: 0, reason: ENGINE_REPLACED });
      return 0;
    }
    const attempt = this.#sends - this.#moves;
    const decision = decideRetry(
      {
        error,
        systemCode: lost?.code ?? null,
        engineStatus: lost === null ? (call?.status ?? null) : null,
        retryAfterMs: call?.retryAfterMs ?? null,
        engineLost: lost !== null && lossOf(lost) === 'broken',
        losses: this.#losses,
        attempt,
        answerStarted: false,
        cancelled: false,
        deadlineLeftMs,
        engineIsAway: engine.current()?.generation !== call?.engine.generation,
        budgetHasRoom: retryBudget.hasRoom(),
      },
      retry,
      Math.random(),
    );
    if (!decision.retry) return null;
    retryBudget.countRetry();
    events.publish('retry', { id, route: route.name, attempt, delayMs: decision.delayMs, reason: decision.reason });
    return decision.delayMs;
  }
}
