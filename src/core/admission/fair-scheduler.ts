import type { Config } from '../config.ts';
import { PRIORITY_CLASSES } from './client.ts';
import { FairClass } from './fair-class.ts';
import type { QueuePlace, SlotWaiter } from './fair-place.ts';

/** Weight of the newest request in the average service of requests. */
const NEWEST = 0.1;

/**
 * Decides whose request is next. No clock, no I/O: the same calls always give the same decisions.
 *
 * Among classes: the most urgent class that has requests waiting goes first. While a class waits, its minimum share of all
 * service is saved up for it, less what it gets; as soon as that pays for an average request, one of its requests goes
 * first. What that request used beyond the savings is paid off before the next one.
 *
 * Within a class: the Virtual Token Counter, see {@link FairClass}. Within a client: order of arrival.
 *
 * Service is w_p · prompt tokens + w_q · generated tokens; a prompt costs at least 1, so that no request is free.
 */
export class FairScheduler {
  /** Most urgent first. */
  readonly classes: readonly FairClass[];
  readonly #weights: Config['fairness'];
  #arrivals = 0;
  #waiting = 0;
  #averageService = 0;
  #longestPrompt = 0;
  /** Tokens of the requests at the engine, and the most there have been. */
  #batchTokens = 0;
  #largestBatch = 0;

  constructor(fairness: Config['fairness']) {
    this.#weights = fairness;
    const { minimumShare } = fairness;
    this.classes = PRIORITY_CLASSES.map((name) => new FairClass(name, name === 'interactive' ? 0 : minimumShare[name]));
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Average service of the requests that have ended, the latest counting most; 0: none has. */
  get averageService(): number {
    return this.#averageService;
  }

  /**
   * How far two clients that always wait may drift apart in service: 2 · max(w_p · L_input, w_q · M), theorem 4.4 of the paper.
   * L_input is the longest prompt and M the most tokens at the engine at once that have been seen. (The paper takes w_p ≤ w_q
   * for granted; otherwise M counts with w_p.)
   */
  get bound(): number {
    const { promptTokenWeight, generatedTokenWeight } = this.#weights;
    const prompt = Math.max(1, promptTokenWeight * this.#longestPrompt);
    return 2 * Math.max(prompt, Math.max(promptTokenWeight, generatedTokenWeight) * this.#largestBatch);
  }

  /** A request gets its slots without waiting; only while nobody waits. */
  pass(waiter: SlotWaiter): QueuePlace {
    const place = this.#placeOf(waiter);
    place.account.class.pass(place, this.#averageService);
    this.#toEngine(place);
    return place;
  }

  /** A request waits from now on. */
  enter(waiter: SlotWaiter): QueuePlace {
    const place = this.#placeOf(waiter);
    this.#waiting += 1;
    place.account.class.enter(place, this.#averageService);
    return place;
  }

  /** A waiting request goes without having been served. */
  leave(place: QueuePlace): void {
    this.#waiting -= 1;
    place.state = 'gone';
    place.account.class.leave(place);
    forgetSavings(place.account.class);
  }

  /** The request to serve next; it stays where it is until {@link grant}. */
  next(): QueuePlace | null {
    if (this.#waiting === 0) return null;
    const owed = this.#owedClass();
    const chosen = owed ?? this.classes.find(({ waiting }) => waiting > 0);
    const place = chosen?.first() ?? null;
    if (place !== null) place.byShare = owed !== null;
    return place;
  }

  /** A waiting request goes to the engine. */
  grant(place: QueuePlace): void {
    const own = place.account.class;
    this.#waiting -= 1;
    own.grant(place);
    if (place.byShare) {
      place.prepaid = this.#averageService;
      own.credit -= place.prepaid;
    }
    this.#toEngine(place);
    forgetSavings(own);
  }

  /** A request has left the engine. Charges may still follow. */
  finish(place: QueuePlace): void {
    this.#end(place);
    const newest = this.#averageService === 0 ? 1 : NEWEST;
    this.#averageService += newest * (place.service - this.#averageService);
  }

  /** A granted request never reached the engine: it leaves, and its charge is taken back. */
  refund(place: QueuePlace): void {
    this.#charge(place, -place.service);
    this.#end(place);
  }

  /** The true length of the prompt, and how much of it was found in the cache of the slot. */
  chargePrompt(place: QueuePlace, promptTokens: number, cachedTokens: number): void {
    const { promptTokenWeight, cachedTokenWeight } = this.#weights;
    const cached = Math.min(cachedTokens, promptTokens);
    const service = Math.max(1, promptTokenWeight * (promptTokens - cached) + cachedTokenWeight * cached);
    const difference = service - place.promptService;
    this.#count(place, promptTokens - place.promptTokens);
    place.promptTokens = promptTokens;
    place.promptService = service;
    if (promptTokens > this.#longestPrompt) this.#longestPrompt = promptTokens;
    this.#charge(place, difference);
  }

  /** Tokens were generated. */
  chargeGenerated(place: QueuePlace, tokens: number): void {
    this.#count(place, tokens);
    place.generatedTokens += tokens;
    this.#charge(place, tokens * this.#weights.generatedTokenWeight);
  }

  #toEngine(place: QueuePlace): void {
    place.state = 'granted';
    this.chargePrompt(place, Math.max(0, place.waiter.promptTokens), 0);
  }

  #end(place: QueuePlace): void {
    const own = place.account.class;
    this.#count(place, -place.promptTokens - place.generatedTokens);
    place.state = 'gone';
    own.finish(place);
    if (place.service < place.prepaid) {
      own.credit += place.prepaid - place.service;
      place.prepaid = place.service;
      forgetSavings(own);
    }
  }

  #count(place: QueuePlace, tokens: number): void {
    if (place.state !== 'granted') return;
    this.#batchTokens += tokens;
    if (this.#batchTokens > this.#largestBatch) this.#largestBatch = this.#batchTokens;
  }

  #charge(place: QueuePlace, service: number): void {
    const own = place.account.class;
    const before = place.service;
    place.service += service;
    own.charge(place.account, service);
    for (const other of this.classes) {
      if (other.waiting > 0 || other.credit < 0) other.credit += other.share * service;
      if (other === own) payFromShare(place, before);
      forgetSavings(other);
    }
  }

  /** The class whose minimum share has saved enough for a request, while a more urgent one waits as well; of two, the one with more turns saved. */
  #owedClass(): FairClass | null {
    let owed: FairClass | null = null;
    let urgent = 0;
    for (const candidate of this.classes) {
      const { credit, share, waiting } = candidate;
      const pays = credit > 0 && credit >= this.#averageService;
      if (pays && waiting > 0 && urgent > 0 && (owed === null || credit / share > owed.credit / owed.share)) {
        owed = candidate;
      }
      urgent += waiting;
    }
    return owed;
  }

  #placeOf(waiter: SlotWaiter): QueuePlace {
    this.#arrivals += 1;
    const { client } = waiter;
    const own = this.classes[PRIORITY_CLASSES.indexOf(client.priority)] as FairClass;
    return {
      waiter,
      account: own.accountOf(client),
      arrival: this.#arrivals,
      state: 'waiting',
      previous: null,
      next: null,
      slots: 0,
      grantedAtMs: 0,
      slotSet: 0,
      promptTokens: 0,
      generatedTokens: 0,
      promptService: 0,
      service: 0,
      byShare: false,
      prepaid: 0,
    };
  }
}

/** What a class gets anyway, its share need not give; below zero goes only what was granted for the share's sake. */
function payFromShare(place: QueuePlace, serviceBefore: number): void {
  const own = place.account.class;
  const { service, prepaid, byShare } = place;
  if (byShare) own.credit -= Math.max(0, service - prepaid) - Math.max(0, serviceBefore - prepaid);
  else if (own.credit > 0) own.credit = Math.max(0, own.credit - (service - serviceBefore));
}

/** Nothing is saved for a class that does not wait. What it had ahead of time stays: it would come back for more at once. */
function forgetSavings(fairClass: FairClass): void {
  if (fairClass.waiting === 0 && fairClass.credit > 0) fairClass.credit = 0;
}
