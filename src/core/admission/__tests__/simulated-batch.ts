import { ANONYMOUS, type Client } from '../client.ts';
import type { QueuePlace, SlotWaiter } from '../fair-place.ts';
import type { FairScheduler } from '../fair-scheduler.ts';

/** A request of a trace. */
export interface TraceRequest {
  readonly client: Client;
  readonly promptTokens: number;
  readonly generatedTokens: number;
  /** What is believed of the prompt until the engine has read it; default: the truth. */
  readonly estimate?: number;
}

/** A client of that name. */
export function clientNamed(name: string, changes: Partial<Client> = {}): Client {
  return { ...ANONYMOUS, key: `user:${name}`, ...changes };
}

/** An engine for a scheduler, reduced to what counts: slots, and one token a step for each request in them. */
export class SimulatedBatch {
  readonly scheduler: FairScheduler;
  /** Requests in order of their grant. */
  readonly served: TraceRequest[] = [];
  readonly slots: number;
  readonly #running: { place: QueuePlace; request: TraceRequest; left: number }[] = [];
  readonly #waiting = new Map<QueuePlace, TraceRequest>();
  readonly #service = new Map<string, number>();

  constructor(scheduler: FairScheduler, slots: number) {
    this.scheduler = scheduler;
    this.slots = slots;
  }

  get freeSlots(): number {
    return this.slots - this.#running.length;
  }

  /** Service of a client so far: finished requests as the engine counted them, running ones as charged. */
  serviceOf(client: Client): number {
    let service = this.#service.get(client.key) ?? 0;
    for (const { place } of this.#running) if (place.account.key === client.key) service += place.service;
    return service;
  }

  waitingOf(client: Client): number {
    let waiting = 0;
    for (const { client: other } of this.#waiting.values()) if (other.key === client.key) waiting += 1;
    return waiting;
  }

  arrive(request: TraceRequest): QueuePlace {
    const place = this.scheduler.enter(waiterOf(request));
    this.#waiting.set(place, request);
    return place;
  }

  leave(place: QueuePlace): void {
    if (this.#waiting.delete(place)) this.scheduler.leave(place);
  }

  /** Fills the free slots, then every request gets a token. */
  step(): void {
    this.fill();
    for (let index = this.#running.length - 1; index >= 0; index--) {
      const running = this.#running[index]!;
      const { place, request } = running;
      if (running.left === request.generatedTokens) this.scheduler.chargePrompt(place, request.promptTokens, 0);
      if (running.left > 0) this.scheduler.chargeGenerated(place, 1);
      running.left -= 1;
      if (running.left > 0) continue;
      this.#running.splice(index, 1);
      this.#service.set(place.account.key, (this.#service.get(place.account.key) ?? 0) + place.service);
      this.scheduler.finish(place);
    }
  }

  fill(): void {
    while (this.freeSlots > 0) {
      const place = this.scheduler.next();
      if (place === null) return;
      this.scheduler.grant(place);
      const request = this.#waiting.get(place)!;
      this.#waiting.delete(place);
      this.served.push(request);
      this.#running.push({ place, request, left: request.generatedTokens });
    }
  }
}

function waiterOf({ client, promptTokens, estimate = promptTokens }: TraceRequest): SlotWaiter {
  return { client, promptTokens: estimate, slots: 1, onSlot: () => true, onRefused: () => undefined, place: null };
}
