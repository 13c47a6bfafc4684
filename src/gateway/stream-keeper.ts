/** An open stream, as its keeper sees it. */
export interface KeptStream {
  /** Called once per interval while the stream is open. */
  tick(): void;
}

/** Looks at all open streams in turn with one timer, which runs only while there are any. */
export class StreamKeeper {
  readonly #intervalMs: number;
  readonly #streams = new Set<KeptStream>();
  #timer: NodeJS.Timeout | null = null;

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** How many streams are open. */
  get size(): number {
    return this.#streams.size;
  }

  add(stream: KeptStream): void {
    this.#streams.add(stream);
    this.#timer ??= setInterval(() => this.#tick(), this.#intervalMs);
  }

  delete(stream: KeptStream): void {
    this.#streams.delete(stream);
    if (this.#streams.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  #tick(): void {
    for (const stream of this.#streams) stream.tick();
  }
}
