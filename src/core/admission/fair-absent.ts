import type { ClientAccount } from './fair-place.ts';

/**
 * Absent clients whose counters are kept. A returning client is lifted to where the others are, so forgetting one matters
 * only to who had more than its part shortly before; and that wears off as the others are served.
 */
const MOST_ABSENT = 10_000;

/** Accounts without waiting or running requests, in the order in which their clients went. A linked list: every request passes through. */
export class AbsentAccounts {
  #oldest: ClientAccount | null = null;
  #newest: ClientAccount | null = null;
  #size = 0;

  /** @returns the account that has to be forgotten for it. */
  add(account: ClientAccount): ClientAccount | null {
    account.previousAbsent = this.#newest;
    if (this.#newest === null) this.#oldest = account;
    else this.#newest.nextAbsent = account;
    this.#newest = account;
    this.#size += 1;
    if (this.#size <= MOST_ABSENT) return null;
    const oldest = this.#oldest as ClientAccount;
    this.remove(oldest);
    return oldest;
  }

  remove(account: ClientAccount): void {
    const { previousAbsent: previous, nextAbsent: next } = account;
    if (previous === null) this.#oldest = next;
    else previous.nextAbsent = next;
    if (next === null) this.#newest = previous;
    else next.previousAbsent = previous;
    account.previousAbsent = null;
    account.nextAbsent = null;
    this.#size -= 1;
  }
}
