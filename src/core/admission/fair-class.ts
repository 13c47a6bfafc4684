import type { Client, PriorityClass } from './client.ts';
import { AbsentAccounts } from './fair-absent.ts';
import { appendPlace, type ClientAccount, type QueuePlace, unlinkPlace } from './fair-place.ts';

/**
 * The clients of one priority class, served by the Virtual Token Counter scheduler ("Fairness in Serving Large Language
 * Models", Sheng et al., OSDI 2024, algorithm 2): who has the smallest counter is next, and who returns after having
 * nothing to do has its counter lifted, so that idleness gives no credit.
 *
 * Two things go beyond the paper. The lift has a lower limit that moves with the service of the class: otherwise a
 * never-ending row of new clients, each entering at the smallest counter, would starve who was served before. And what is
 * known of absent clients is bounded ({@link AbsentAccounts}).
 */
export class FairClass {
  readonly name: PriorityClass;
  /** Least part of the service while it waits behind more urgent classes. */
  readonly share: number;
  /** Clients that have something waiting, in no order. Looked through when a slot becomes free, which is rare and short. */
  readonly queued: ClientAccount[] = [];
  /** Requests that wait. */
  waiting = 0;
  /** Service that its minimum share owes it (positive), or that it had ahead of time. */
  credit = 0;
  /** Service received since the start. */
  service = 0;
  readonly #accounts = new Map<string, ClientAccount>();
  readonly #absent = new AbsentAccounts();
  /** Sum of the weights of the clients that wait or run. */
  #activeWeight = 0;
  #activeClients = 0;
  /** The counter of somebody who has always had its fair part. */
  #virtualTime = 0;

  constructor(name: PriorityClass, share: number) {
    this.name = name;
    this.share = share;
  }

  /** Clients of whom something is known, absent ones included. */
  get knownClients(): number {
    return this.#accounts.size;
  }

  /** The account of a client, new or as it was left. */
  accountOf(client: Client): ClientAccount {
    const weight = client.weight > 0 ? client.weight : 1;
    let account = this.#accounts.get(client.key);
    if (account === undefined) {
      account = newAccount(client.key, this, weight);
      this.#accounts.set(client.key, account);
      this.#keepAbsent(account);
    } else if (account.weight !== weight) {
      if (isActive(account)) this.#activeWeight += weight - account.weight;
      account.weight = weight;
    }
    return account;
  }

  /** A request arrives. `slack`: how far below the virtual time a returning client may enter; the service of one request. */
  enter(place: QueuePlace, slack: number): void {
    const { account } = place;
    if (account.waiting === 0) this.#lift(account, slack);
    this.#activate(account);
    if (account.index === -1) {
      account.index = this.queued.length;
      this.queued.push(account);
    }
    appendPlace(place);
    this.waiting += 1;
  }

  /** A request arrives and gets its slot at once, because nobody waits. */
  pass(place: QueuePlace, slack: number): void {
    const { account } = place;
    this.#lift(account, slack);
    this.#activate(account);
    account.running += 1;
    this.#virtualTime = Math.max(this.#virtualTime, account.counter);
  }

  /** A waiting request becomes a running one. */
  grant(place: QueuePlace): void {
    const { account } = place;
    this.#virtualTime = Math.max(this.#virtualTime, account.counter);
    this.#unqueue(place);
    account.running += 1;
  }

  /** A waiting request goes. */
  leave(place: QueuePlace): void {
    this.#unqueue(place);
    this.#deactivate(place.account);
  }

  /** A running request goes. */
  finish(place: QueuePlace): void {
    place.account.running -= 1;
    this.#deactivate(place.account);
  }

  /** Charges service, or takes some back when it is negative. */
  charge(account: ClientAccount, service: number): void {
    this.service += service;
    account.counter += service / account.weight;
    if (account.counter < account.floor) account.counter = account.floor;
    this.#virtualTime += service / Math.max(this.#activeWeight, account.weight);
  }

  /** The request to serve next: the earliest of the client with the smallest counter. */
  first(): QueuePlace | null {
    let best: ClientAccount | undefined;
    for (const account of this.queued) if (best === undefined || goesBefore(account, best)) best = account;
    return best?.first ?? null;
  }

  /** Algorithm 2, lines 7 to 13. An empty queue lifts to the virtual time: it follows the counter of who was served last. */
  #lift(account: ClientAccount, slack: number): void {
    let target = this.#virtualTime;
    if (this.queued.length > 0) {
      const { min, max } = this.counters();
      target = Math.min(max, Math.max(min, this.#virtualTime - slack));
    }
    account.floor = target;
    if (account.counter < target) account.counter = target;
  }

  /** Smallest and largest counter of the clients that wait. */
  counters(): { min: number; max: number } {
    let min = Infinity;
    let max = -Infinity;
    for (const { counter } of this.queued) {
      if (counter < min) min = counter;
      if (counter > max) max = counter;
    }
    return { min, max };
  }

  #unqueue(place: QueuePlace): void {
    const { account } = place;
    unlinkPlace(place);
    this.waiting -= 1;
    if (account.waiting > 0) return;
    const last = this.queued.pop() as ClientAccount;
    if (last !== account) {
      this.queued[account.index] = last;
      last.index = account.index;
    }
    account.index = -1;
  }

  #activate(account: ClientAccount): void {
    if (isActive(account)) return;
    this.#absent.remove(account);
    this.#activeWeight += account.weight;
    this.#activeClients += 1;
  }

  #deactivate(account: ClientAccount): void {
    if (isActive(account)) return;
    this.#activeClients -= 1;
    // Not the difference when nobody is left: sums of fractions drift.
    this.#activeWeight = this.#activeClients === 0 ? 0 : this.#activeWeight - account.weight;
    this.#keepAbsent(account);
  }

  #keepAbsent(account: ClientAccount): void {
    const forgotten = this.#absent.add(account);
    if (forgotten !== null) this.#accounts.delete(forgotten.key);
  }
}

/** Equal counters: who has less at the engine, then who came first. */
function goesBefore(one: ClientAccount, other: ClientAccount): boolean {
  if (one.counter !== other.counter) return one.counter < other.counter;
  if (one.running !== other.running) return one.running < other.running;
  return (one.first?.arrival ?? 0) < (other.first?.arrival ?? 0);
}

function isActive(account: ClientAccount): boolean {
  return account.waiting + account.running > 0;
}

function newAccount(key: string, fairClass: FairClass, weight: number): ClientAccount {
  return {
    key,
    class: fairClass,
    weight,
    counter: 0,
    floor: 0,
    waiting: 0,
    running: 0,
    first: null,
    last: null,
    index: -1,
    previousAbsent: null,
    nextAbsent: null,
  };
}
