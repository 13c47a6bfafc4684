import type { ClientAccount, QueuePlace } from './fair-place.ts';
import type { FairScheduler } from './fair-scheduler.ts';

/**
 * The place of a waiting request in the order of service, if no more arrive: 1 is next. An estimate, because it takes
 * every waiting request for an average one. Looks at each waiting client once.
 */
export function positionOf(scheduler: FairScheduler, place: QueuePlace): number {
  const { account } = place;
  const own = account.class;
  const service = scheduler.averageService > 0 ? scheduler.averageService : Math.max(1, place.waiter.promptTokens);
  const ahead = aheadOfOwn(place);
  const start = account.counter + (ahead * service) / account.weight;
  let position = ahead + 1;
  for (const other of own.queued) if (other !== account) position += servedBefore(other, place, start, service);
  let urgent = 0;
  for (const other of scheduler.classes) {
    if (other === own) break;
    urgent += other.waiting;
  }
  // Behind more urgent classes, the minimum share may be quicker than waiting for them to be done.
  return own.share > 0 ? Math.min(position + urgent, Math.ceil(position / own.share)) : position + urgent;
}

/**
 * The newest request of the client that has most requests waiting for its weight; of equals, the less urgent one. It makes
 * room for `newcomer`, which waits already.
 * @returns null when the newcomer's client would then have more waiting itself.
 */
export function displacedBy(scheduler: FairScheduler, newcomer: QueuePlace): QueuePlace | null {
  let most = newcomer.account.waiting / newcomer.account.weight;
  let found: QueuePlace | null = null;
  for (const { queued } of scheduler.classes) {
    for (const account of queued) {
      const left = (account.waiting - 1) / account.weight;
      if (account === newcomer.account || left < most) continue;
      most = left;
      found = account.last;
    }
  }
  return found;
}

/** Waiting requests of the same client that came before. */
function aheadOfOwn(place: QueuePlace): number {
  if (place.next === null) return place.account.waiting - 1;
  let ahead = 0;
  for (let other = place.previous; other !== null; other = other.previous) ahead += 1;
  return ahead;
}

/** How many requests of `other` go before the counter of the place's client has come to `start`. */
function servedBefore(other: ClientAccount, place: QueuePlace, start: number, service: number): number {
  if (other.counter > start) return 0;
  const turns = ((start - other.counter) * other.weight) / service;
  const { account } = place;
  const winsTie =
    other.running === account.running
      ? (other.first?.arrival ?? 0) < (account.first?.arrival ?? 0)
      : other.running < account.running;
  const whole = Math.ceil(turns);
  return Math.min(other.waiting, whole === turns && winsTie ? whole + 1 : whole);
}
