/** Lines that are kept, and characters of each; 2 MB at most. */
const MAX_LINES = 500;
const MAX_LINE_CHARACTERS = 2000;

/** The last lines of the log of level info and above, for those who ask a running llamero what happened. */
export class RecentLines {
  readonly #lines: string[] = [];
  /** Where the next line goes, once all places are taken. */
  #next = 0;

  /** @param line one JSON record as pino writes it. Those below info are not kept. */
  add(line: string): void {
    if (!/^\{"level":("(info|warn|error|fatal)"|[3-6]0)/.test(line)) return;
    const kept = line.length > MAX_LINE_CHARACTERS ? `${line.slice(0, MAX_LINE_CHARACTERS)}…` : line.trimEnd();
    this.#lines[this.#next] = kept;
    this.#next = (this.#next + 1) % MAX_LINES;
  }

  /** Oldest first. */
  list(): string[] {
    return [...this.#lines.slice(this.#next), ...this.#lines.slice(0, this.#next)];
  }
}
