/** Longest line kept; what goes beyond is dropped, so that one endless line costs no memory. */
const MAX_LINE_CHARACTERS = 4096;

/**
 * Splits what an engine prints into lines and keeps the last of them. Bounded: `capacity` lines of at most 4096
 * characters, whatever the engine does.
 */
export class LogTail {
  readonly #lines: string[] = [];
  readonly #capacity: number;
  readonly #onLine: (line: string) => void;

  /** @param capacity lines kept. @param onLine called for every complete line. */
  constructor(capacity: number, onLine: (line: string) => void) {
    this.#capacity = capacity;
    this.#onLine = onLine;
  }

  /** The kept lines, oldest first. */
  lines(): string[] {
    return [...this.#lines];
  }

  /** One writer for each pipe, since their lines must not mix. */
  writer(): { write(text: string): void; end(): void } {
    let partial = '';
    return {
      write: (text) => {
        let start = 0;
        for (let newline = text.indexOf('\n'); newline !== -1; newline = text.indexOf('\n', start)) {
          this.#add(partial + text.slice(start, newline));
          partial = '';
          start = newline + 1;
        }
        if (partial.length < MAX_LINE_CHARACTERS) partial += text.slice(start, start + MAX_LINE_CHARACTERS);
      },
      end: () => {
        if (partial !== '') this.#add(partial);
        partial = '';
      },
    };
  }

  #add(raw: string): void {
    const line = raw.slice(0, MAX_LINE_CHARACTERS).trimEnd();
    if (line === '') return;
    if (this.#lines.length >= this.#capacity) this.#lines.shift();
    this.#lines.push(line);
    this.#onLine(line);
  }
}
