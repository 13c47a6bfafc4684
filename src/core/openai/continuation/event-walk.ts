const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const DATA_LENGTH = 5;
const DONE = Buffer.from('[DONE]');
const NOTHING = Buffer.alloc(0);

/**
 * Goes from event to event through a run of whole server-sent events, as the framer lets it out: a cursor, so that the path
 * of every token makes no objects. One walk may be used again for any number of runs.
 *
 * ```ts
 * for (walk.begin(run); walk.next();) if (walk.hasData) use(run, walk.dataStart, walk.dataEnd);
 * ```
 */
export class EventWalk {
  /** Index of the first byte of the event. */
  start = 0;
  /** Index after the blank line that ends it. */
  end = 0;
  /** Its data: what stands behind `data: `, without the line end. An event has one such line; of several the last counts. */
  dataStart = 0;
  dataEnd = 0;
  #run: Buffer = NOTHING;

  /** Whether the event has data at all; comments have none. */
  get hasData(): boolean {
    return this.dataEnd > this.dataStart;
  }

  /** Whether it is the closing `[DONE]`. */
  get isDone(): boolean {
    return this.dataEnd - this.dataStart === DONE.length && this.#run[this.dataStart] === DONE[0];
  }

  /** Starts at the beginning of another run. */
  begin(run: Buffer): void {
    this.#run = run;
    this.end = 0;
  }

  /** Goes to the next event. @returns false when there is none left. */
  next(): boolean {
    const run = this.#run;
    if (this.end >= run.length) {
      // A walk lives as long as its stream; the run need not.
      this.#run = NOTHING;
      return false;
    }
    this.start = this.end;
    this.dataStart = 0;
    this.dataEnd = 0;
    for (let at = this.start; at < run.length;) {
      // Most events are one line, and most lines that end one are empty: looked at here, that is one search for each event.
      if (run[at] === NEWLINE) {
        this.end = at + 1;
        return true;
      }
      const lineEnd = endOfLine(run, at);
      const end = run[lineEnd - 1] === CARRIAGE_RETURN ? lineEnd - 1 : lineEnd;
      if (end <= at) {
        this.end = lineEnd + 1;
        return true;
      }
      if (isData(run, at)) {
        this.dataStart = run[at + DATA_LENGTH] === SPACE ? at + DATA_LENGTH + 1 : at + DATA_LENGTH;
        this.dataEnd = end;
      }
      at = lineEnd + 1;
    }
    this.end = run.length;
    return true;
  }
}

function endOfLine(run: Buffer, start: number): number {
  const found = run.indexOf(NEWLINE, start);
  return found === -1 ? run.length : found;
}

function isData(run: Buffer, at: number): boolean {
  return (
    run[at] === 0x64 && run[at + 1] === 0x61 && run[at + 2] === 0x74 && run[at + 3] === 0x61 && run[at + 4] === 0x3a
  );
}
