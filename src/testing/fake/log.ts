/** Writes lines in the shape of llama-server's log, `minutes.seconds.ms.us level text`, to standard error. */
export class FakeServerLog {
  readonly #started = process.hrtime.bigint();

  info(text: string): void {
    this.#write('I', text);
  }

  warning(text: string): void {
    this.#write('W', text);
  }

  error(text: string): void {
    this.#write('E', text);
  }

  /** A line without time and level, as the real server prints some of its last words. */
  raw(line: string): void {
    process.stderr.write(`${line}\n`);
  }

  #write(level: string, text: string): void {
    const microseconds = (process.hrtime.bigint() - this.#started) / 1000n;
    const time = [
      String(microseconds / 60_000_000n),
      field((microseconds / 1_000_000n) % 60n, 2),
      field((microseconds / 1000n) % 1000n, 3),
      field(microseconds % 1000n, 3),
    ].join('.');
    process.stderr.write(`${time} ${level} ${text}\n`);
  }
}

function field(value: bigint, width: number): string {
  return String(value).padStart(width, '0');
}
