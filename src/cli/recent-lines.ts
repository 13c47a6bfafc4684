/** Lines that are kept, and characters of each; 1 MB at most. */
const MAX_LINES = 500;
const MAX_LINE_CHARACTERS = 2000;

/** The last lines of a log, for those who ask a running llamero what happened. */
export class RecentLines {
  readonly #lines: string[] = [];
  /** Where the next line goes, once all places are taken. */
  #next = 0;

  add(line: string): void {
    const kept = line.length > MAX_LINE_CHARACTERS ? `${line.slice(0, MAX_LINE_CHARACTERS)}…` : line.trimEnd();
    this.#lines[this.#next] = kept;
    this.#next = (this.#next + 1) % MAX_LINES;
  }

  clear(): void {
    this.#lines.length = 0;
    this.#next = 0;
  }

  /** Oldest first. */
  list(): string[] {
    return [...this.#lines.slice(this.#next), ...this.#lines.slice(0, this.#next)];
  }
}
