/** A suspect that waits for its turn. The object itself is its identity. */
export interface QuarantinedRequest {
  /** It is your turn; call {@link Quarantine.leave} when you have ended. */
  onTurn(): void;
}

/**
 * Runs suspects one at a time, first come first served, so that a second death of the engine names one of them. Who is in it
 * waits within his own deadlines; it is bounded by whatever bounds those who enter.
 */
export class Quarantine {
  /** The first has its turn. */
  readonly #line: QuarantinedRequest[] = [];

  /** Requests in it, the one that runs included. */
  get size(): number {
    return this.#line.length;
  }

  /**
   * Takes a place in the line; who is in it already keeps his.
   * @returns true: it is your turn now; false: `onTurn` will be called, unless {@link leave} comes first.
   */
  enter(request: QuarantinedRequest): boolean {
    if (!this.#line.includes(request)) this.#line.push(request);
    return this.#line[0] === request;
  }

  /** Gives up the turn, or the place in the line; nothing happens to who has none. The next one's turn comes at once. */
  leave(request: QuarantinedRequest): void {
    const place = this.#line.indexOf(request);
    if (place === -1) return;
    this.#line.splice(place, 1);
    if (place === 0) this.#line[0]?.onTurn();
  }
}
