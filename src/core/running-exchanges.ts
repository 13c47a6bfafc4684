import type { RunningExchange } from './running-exchange.ts';

/**
 * The requests in flight. An array whose members know their place, not a Set: V8 replaces the table of a Set every few
 * dozen deletions, and outgrown tables that were promoted keep their successors, and so every request that ever passed,
 * alive until the next full collection. Measured at 32 connections: collections of 12 ms instead of 0.8 ms, 20 µs a request.
 */
export class RunningExchanges {
  readonly #members: RunningExchange[] = [];

  get size(): number {
    return this.#members.length;
  }

  /** A copy, so that members may go while it is looked through. */
  list(): RunningExchange[] {
    return [...this.#members];
  }

  add(exchange: RunningExchange): void {
    exchange.place = this.#members.length;
    this.#members.push(exchange);
  }

  /** The last member takes the place of the one that goes. */
  remove(exchange: RunningExchange): void {
    const last = this.#members.pop();
    if (last === undefined || last === exchange) return;
    this.#members[exchange.place] = last;
    last.place = exchange.place;
  }
}
