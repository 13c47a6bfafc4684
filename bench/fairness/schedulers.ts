import { FairQueue, type SlotWaiter } from '../../src/core/admission/fair-queue.ts';
import { ANONYMOUS } from '../../src/core/admission/client.ts';
import { parseConfig } from '../../src/core/config.ts';
import type { Arrival } from './workloads.ts';

/** How requests get to the engine. */
export interface Scheduler {
  readonly name: string;
  readonly queue: FairQueue;
  /** For whom a request waits; null: it is refused. */
  clientOf(arrival: Arrival): SlotWaiter['client'] | null;
}

/** Requests that one client may send a minute where that is all that keeps order. */
const REQUESTS_PER_MINUTE = 20;
const MINUTE_MS = 60_000;

/** The schedulers that are compared, each on the real queue with the clock of the simulation. */
export const SCHEDULERS: readonly ((slots: number, now: () => number) => Scheduler)[] = [
  (slots, now) => ({ name: 'VTC (llamero)', queue: newQueue(slots, now), clientOf: ({ client }) => client }),
  // One client: what is left of the scheduler is the order of arrival.
  (slots, now) => ({ name: 'FCFS', queue: newQueue(slots, now), clientOf: () => ANONYMOUS }),
  (slots, now) => {
    const seen = new Map<string, { minute: number; count: number }>();
    return {
      name: `${REQUESTS_PER_MINUTE} requests/min`,
      queue: newQueue(slots, now),
      clientOf: ({ client, atMs }) => {
        const minute = Math.floor(atMs / MINUTE_MS);
        const last = seen.get(client.key);
        const count = last?.minute === minute ? last.count + 1 : 1;
        seen.set(client.key, { minute, count });
        return count > REQUESTS_PER_MINUTE ? null : ANONYMOUS;
      },
    };
  },
];

function newQueue(slots: number, now: () => number): FairQueue {
  const { fairness } = parseConfig({});
  // As in the paper, nobody is refused for the length of the queue: the order alone is compared.
  const queue = new FairQueue({ maxConcurrentRequests: slots, maxQueue: Infinity, fairness }, now);
  queue.setSlots(slots);
  return queue;
}
