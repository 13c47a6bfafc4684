/** What an {@link IndexedList} holds. */
export interface ListMember {
  /** Where it stands in its list, which alone writes it; any number before. A member is in one list at a time. */
  listIndex: number;
}

/**
 * An unordered collection for what comes and goes with every request: an array whose members know their index.
 *
 * Not a Set: with thousands of additions and deletions a second V8 replaces the hash table of a Set all the time, and
 * each outgrown table that has reached the old generation keeps its successors alive, and with them every member they
 * ever held, until the next full collection. Measured at 32 connections: collections of 12 ms instead of 0.8 ms, 20 µs a
 * request.
 */
export class IndexedList<Member extends ListMember> {
  readonly #members: Member[] = [];

  get size(): number {
    return this.#members.length;
  }

  /** A copy, so that members may go while it is looked through; in no particular order. */
  list(): Member[] {
    return [...this.#members];
  }

  add(member: Member): void {
    member.listIndex = this.#members.length;
    this.#members.push(member);
  }

  /** The last member takes the freed place. A member that is not here is no matter. */
  delete(member: Member): void {
    const index = member.listIndex;
    if (this.#members[index] !== member) return;
    const last = this.#members.pop();
    if (last === undefined || last === member) return;
    this.#members[index] = last;
    last.listIndex = index;
  }
}
