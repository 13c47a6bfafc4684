import type { Config } from '../config.ts';
import type { LlameroError } from '../errors.ts';
import { SlotPace } from './fair-pace.ts';
import type { QueuePlace, SlotWaiter } from './fair-place.ts';
import { displacedBy, positionOf } from './fair-position.ts';
import { FairScheduler } from './fair-scheduler.ts';
import { type FairnessReport, fairnessReport } from './fairness-report.ts';
import { queueFull, tooLate } from './queue-refusals.ts';

export type { SlotWaiter } from './fair-place.ts';
export type { FairnessReport } from './fairness-report.ts';

/** What the queue needs of the configuration. */
export type FairQueueConfig = Pick<Config, 'maxConcurrentRequests' | 'maxQueue' | 'fairness'>;

/**
 * Lets no more requests to the engine than it has slots, and makes a bounded number of others wait, in the order that
 * {@link FairScheduler} decides. So the engine's own queue, which has neither bound nor deadline nor fairness, stays empty.
 * The one owner of slots and waiting requests. No timers: who waits has its own.
 */
export class FairQueue {
  readonly #maxConcurrentRequests: number;
  readonly #maxQueue: number;
  readonly #now: () => number;
  readonly #scheduler: FairScheduler;
  readonly #pace = new SlotPace();
  /** One until an engine has told its slots: the first request finds out whether there is an engine at all. */
  #limit = 1;
  #inUse = 0;
  /** Each engine that takes requests while an older one still finishes its own brings a new set. */
  #slotSet = 0;
  /** Requests with slots of an older set that need some of the present one: running already, so before all who wait. */
  #moving: QueuePlace[] = [];
  #held = false;
  #granting = false;
  /** Whose turn it is although its slots are not all free yet. Nobody overtakes it. */
  #turn: QueuePlace | null = null;

  /** `now`: a clock in ms that never goes back. */
  constructor(config: FairQueueConfig, now: () => number = () => performance.now()) {
    this.#maxConcurrentRequests = config.maxConcurrentRequests;
    this.#maxQueue = config.maxQueue;
    this.#scheduler = new FairScheduler(config.fairness);
    this.#now = now;
  }

  /** Slots in use by requests at the engine that takes requests. */
  get inUse(): number {
    return this.#inUse;
  }

  /** Requests that wait. */
  get queued(): number {
    return this.#scheduler.waiting;
  }

  /**
   * The engine told how many slots it has.
   * @param isNewSet it is another one than before, which goes on with its requests meanwhile: their slots do not count any more.
   */
  setSlots(slots: number, isNewSet = false): void {
    this.#limit = Math.max(1, Math.min(slots, this.#maxConcurrentRequests));
    if (isNewSet) {
      this.#slotSet += 1;
      this.#inUse = 0;
    }
    this.#grant();
  }

  /** Whether its slots are those of an engine that takes no more requests; {@link move} gets others. */
  isOutdated(waiter: SlotWaiter): boolean {
    return waiter.place !== null && waiter.place.slotSet !== this.#slotSet;
  }

  /**
   * Takes slots of the present set for a request that has outdated ones, before all who wait, also while {@link hold} is on: it runs already.
   * @returns true when they are taken; false when `onSlot` will be called later, unless {@link release} comes first.
   */
  move(waiter: SlotWaiter): boolean {
    const place = waiter.place;
    if (place?.state !== 'granted') return true;
    this.#moving.push(place);
    this.#movePlaces(place);
    return !this.#moving.includes(place);
  }

  /** Nobody gets a slot from now on; who waits goes on waiting, and running requests go on. */
  hold(): void {
    this.#held = true;
  }

  /** Ends {@link hold}. */
  resume(): void {
    this.#held = false;
    this.#grant();
  }

  /**
   * Takes slots, or a place in the queue. A full queue takes in who has fewer requests waiting than somebody else, and
   * refuses the newest request of that one instead.
   * @param deadlineMs how long it may wait.
   * @returns true when the slots are taken; false when `onSlot` will be called later, unless {@link leave} comes first.
   * @throws LlameroError `queue_full`; `queue_timeout` when, at the speed measured, its turn comes after `deadlineMs`. Both
   * with the time after which another try is worth while.
   */
  acquire(waiter: SlotWaiter, deadlineMs: number): boolean {
    const scheduler = this.#scheduler;
    if (
      scheduler.waiting === 0 &&
      !this.#held &&
      this.#moving.length === 0 &&
      this.#inUse + this.#slotsFor(waiter) <= this.#limit
    ) {
      this.#hand(scheduler.pass(waiter));
      return true;
    }
    const place = scheduler.enter(waiter);
    const displaced = scheduler.waiting > this.#maxQueue ? displacedBy(scheduler, place) : null;
    const refusal =
      scheduler.waiting > this.#maxQueue && displaced === null
        ? this.#queueFull(scheduler.waiting - 1)
        : this.#tooLate(place, deadlineMs);
    if (refusal !== null) {
      scheduler.leave(place);
      throw refusal;
    }
    waiter.place = place;
    if (displaced !== null) this.#displace(displaced);
    return false;
  }

  /** Gives up the place in the queue; nothing happens to who has none. */
  leave(waiter: SlotWaiter): void {
    const place = waiter.place;
    if (place?.state === 'waiting') this.#drop(place);
  }

  /** Gives the slots back; the next in the queue get them. Nothing happens to who has none. */
  release(waiter: SlotWaiter): void {
    this.releaseSlots(this.detach(waiter));
  }

  /**
   * The request is over, but the engine is still at work on it: its slots stay in use until {@link releaseSlots}.
   * @returns how many they are; 0 when it has none.
   */
  detach(waiter: SlotWaiter): number {
    const place = waiter.place;
    if (place?.state !== 'granted') return 0;
    this.#pace.add(this.#now() - place.grantedAtMs);
    this.#scheduler.finish(place);
    if (place.slotSet === this.#slotSet) return place.slots;
    if (this.#moving.length > 0) this.#moving = this.#moving.filter((moving) => moving !== place);
    return 0;
  }

  /** Gives back slots whose request has been detached. */
  releaseSlots(slots: number): void {
    this.#inUse -= slots;
    this.#grant();
  }

  /** The request never reached the engine: its slots are given back and nothing is charged. */
  refund(waiter: SlotWaiter): void {
    const place = waiter.place;
    if (place?.state !== 'granted') return;
    this.#scheduler.refund(place);
    waiter.place = null;
    this.releaseSlots(place.slotSet === this.#slotSet ? place.slots : 0);
  }

  /** The true length of the prompt and how much of it was in the cache; replaces the estimate. May come after {@link release}. */
  chargePrompt(waiter: SlotWaiter, promptTokens: number, cachedTokens: number): void {
    const place = waiter.place;
    if (place !== null && place.state !== 'waiting') this.#scheduler.chargePrompt(place, promptTokens, cachedTokens);
  }

  /** Tokens were generated since the last call. May come after {@link release}. */
  chargeGenerated(waiter: SlotWaiter, tokens: number): void {
    const place = waiter.place;
    if (place !== null && place.state !== 'waiting') this.#scheduler.chargeGenerated(place, tokens);
  }

  /** Expected place in the order of service: 1 is next; 0 when it does not wait. */
  positionOf(waiter: SlotWaiter): number {
    const place = waiter.place;
    return place?.state === 'waiting' ? positionOf(this.#scheduler, place) : 0;
  }

  /** How long until the turn of that position, from how long requests have held their slots so far; null: too few have. */
  estimateWaitMs(position: number): number | null {
    const intervalMs = this.#pace.intervalMs(this.#limit);
    return intervalMs === null ? null : position * intervalMs;
  }

  /** See {@link FairnessReport}. Looks at each waiting client: for a metrics page, not for every request. */
  fairness(): FairnessReport {
    return fairnessReport(this.#scheduler);
  }

  #grant(): void {
    // `onSlot` may give back, leave and acquire.
    if (this.#granting) return;
    this.#granting = true;
    try {
      if (this.#moving.length > 0) this.#movePlaces(null);
      // Nobody overtakes a request that runs already.
      while (!this.#held && this.#moving.length === 0 && this.#inUse < this.#limit) {
        const place = this.#turn ?? this.#scheduler.next();
        this.#turn = place;
        if (place === null || this.#inUse + this.#slotsFor(place.waiter) > this.#limit) return;
        this.#turn = null;
        this.#scheduler.grant(place);
        this.#hand(place);
        if (!place.waiter.onSlot()) this.refund(place.waiter);
      }
    } finally {
      this.#granting = false;
    }
  }

  /** Gives slots of the present set to those who move, in their order. @param silent who is told otherwise. */
  #movePlaces(silent: QueuePlace | null): void {
    for (let place = this.#moving[0]; place !== undefined; place = this.#moving[0]) {
      const slots = this.#slotsFor(place.waiter);
      if (this.#inUse + slots > this.#limit) return;
      this.#moving.shift();
      place.slots = slots;
      place.slotSet = this.#slotSet;
      this.#inUse += slots;
      if (place !== silent) place.waiter.onSlot();
    }
  }

  #hand(place: QueuePlace): void {
    place.slots = this.#slotsFor(place.waiter);
    place.slotSet = this.#slotSet;
    place.grantedAtMs = this.#now();
    place.waiter.place = place;
    this.#inUse += place.slots;
  }

  #slotsFor(waiter: SlotWaiter): number {
    return Math.min(Math.max(1, waiter.slots), this.#limit);
  }

  #displace(place: QueuePlace): void {
    this.#drop(place);
    place.waiter.onRefused(this.#queueFull(this.#scheduler.waiting));
  }

  #drop(place: QueuePlace): void {
    this.#scheduler.leave(place);
    place.waiter.place = null;
    if (this.#turn !== place) return;
    this.#turn = null;
    this.#grant();
  }

  #queueFull(waiting: number): LlameroError {
    return queueFull(waiting, this.estimateWaitMs(1));
  }

  #tooLate(place: QueuePlace, deadlineMs: number): LlameroError | null {
    const position = positionOf(this.#scheduler, place);
    return tooLate(position, this.estimateWaitMs(position), deadlineMs);
  }
}
