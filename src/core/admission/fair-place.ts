import type { LlameroError } from '../errors.ts';
import type { Client } from './client.ts';
import type { FairClass } from './fair-class.ts';

/** Somebody who wants to use the engine. The object itself is its identity in the queue. */
export interface SlotWaiter {
  readonly client: Client;
  /** Length of the prompt as far as known; `chargePrompt` corrects it. */
  readonly promptTokens: number;
  /** Slots that it takes at the engine: several prompts, several choices. More than there are count as all. */
  readonly slots: number;
  /**
   * The slots are yours, and are given back with `release`. Must not throw.
   * @returns false when they are no longer wanted: then the next one gets them, and nothing was charged.
   */
  onSlot(): boolean;
  /** It lost its place in a full queue to a client with fewer requests waiting. */
  onRefused(error: LlameroError): void;
  /** Bookkeeping of the queue, which alone writes it; starts as null. */
  place: QueuePlace | null;
}

/** One request from `acquire` to the last of its charges. */
export interface QueuePlace {
  readonly waiter: SlotWaiter;
  readonly account: ClientAccount;
  /** Number of its arrival. */
  readonly arrival: number;
  state: 'waiting' | 'granted' | 'gone';
  /** Neighbours among the waiting requests of its client. */
  previous: QueuePlace | null;
  next: QueuePlace | null;
  /** Slots that it holds. */
  slots: number;
  /** Number of the set of slots that they belong to; see `FairQueue.setSlots`. */
  slotSet: number;
  grantedAtMs: number;
  promptTokens: number;
  generatedTokens: number;
  /** Part of `service` that is for the prompt. */
  promptService: number;
  /** What its client was charged for it. */
  service: number;
  /** Granted before a more urgent class, out of the minimum share of its own. */
  byShare: boolean;
  /** What the minimum share was charged for it ahead of its service. */
  prepaid: number;
}

/** What is kept of one client while it has requests, and for a while after. */
export interface ClientAccount {
  readonly key: string;
  readonly class: FairClass;
  weight: number;
  /** Service received, divided by the weight: the virtual token counter. */
  counter: number;
  /** Where the counter was last lifted to; what is taken back does not lower it further. */
  floor: number;
  waiting: number;
  running: number;
  /** Waiting requests in order of arrival. */
  first: QueuePlace | null;
  last: QueuePlace | null;
  /** Index among the clients that wait; -1 while it has nothing waiting. */
  index: number;
  /** Neighbours among the clients that have neither waiting nor running requests. */
  previousAbsent: ClientAccount | null;
  nextAbsent: ClientAccount | null;
}

/** Puts a place at the end of its client's own queue. */
export function appendPlace(place: QueuePlace): void {
  const { account } = place;
  place.previous = account.last;
  if (account.last === null) account.first = place;
  else account.last.next = place;
  account.last = place;
  account.waiting += 1;
}

/** Takes a place out of its client's own queue. */
export function unlinkPlace(place: QueuePlace): void {
  const { account, previous, next } = place;
  if (previous === null) account.first = next;
  else previous.next = next;
  if (next === null) account.last = previous;
  else next.previous = previous;
  place.previous = null;
  place.next = null;
  account.waiting -= 1;
}
