/** Memory that all logs of one gateway share. */
export interface LogBudget {
  /** Most bytes that one log keeps of what was read already. */
  readonly perLogBytes: number;
  /** Most bytes that all logs hold; what is unread is kept beyond it, and read parts go before. */
  readonly totalBytes: number;
  /** What they hold now. */
  usedBytes: number;
}

interface Block {
  /** Offset of its first byte in the stream. */
  readonly start: number;
  readonly bytes: Buffer;
  used: number;
}

/** Small enough that a short answer costs little, large enough that a long one has few of them. */
const BLOCK_BYTES = 16_384;

/**
 * The last bytes of a stream, by their offset from its beginning. Bytes are copied into blocks, so that the memory which is held
 * is known exactly. What is added in one piece lies in one block: whoever reads to the end of a block has whole events.
 */
export class ResumableLog {
  readonly #budget: LogBudget;
  #blocks: Block[] = [];
  #end = 0;
  #heldBytes = 0;

  constructor(budget: LogBudget) {
    this.#budget = budget;
  }

  /** Offset behind the last byte: all that was ever added. */
  get end(): number {
    return this.#end;
  }

  /** Offset of the oldest byte that is held. */
  get start(): number {
    return this.#blocks[0]?.start ?? this.#end;
  }

  append(piece: Buffer): void {
    const block = this.#blockFor(piece.length);
    piece.copy(block.bytes, block.used);
    block.used += piece.length;
    this.#end += piece.length;
  }

  /** What is held from that offset on, to the end of its block; a view that stays as it is. Empty at the end. */
  read(offset: number): Buffer {
    const block = this.#blocks.findLast(({ start }) => start <= offset);
    return block === undefined ? Buffer.alloc(0) : block.bytes.subarray(offset - block.start, block.used);
  }

  /** Memory that what comes from `offset` on takes. */
  heldFrom(offset: number): number {
    let bytes = 0;
    for (const block of this.#blocks) if (block.start + block.used > offset) bytes += block.bytes.length;
    return bytes;
  }

  /** Lets the oldest bytes go where there are too many, but none from `offset` on. @returns whether the limits hold. */
  trim(offset: number): boolean {
    const { perLogBytes, totalBytes } = this.#budget;
    for (;;) {
      const isWithin = this.#heldBytes <= perLogBytes && this.#budget.usedBytes <= totalBytes;
      const [oldest, next] = this.#blocks;
      if (isWithin || oldest === undefined || next === undefined || next.start > offset) return isWithin;
      this.#blocks.shift();
      this.#hold(-oldest.bytes.length);
    }
  }

  /** Gives all memory back. */
  clear(): void {
    this.#blocks = [];
    this.#hold(-this.#heldBytes);
  }

  #blockFor(length: number): Block {
    const last = this.#blocks.at(-1);
    if (last !== undefined && last.used + length <= last.bytes.length) return last;
    // Not more than an eighth of the limit, so that a small limit is not one block.
    const size = Math.max(length, Math.min(BLOCK_BYTES, Math.ceil(this.#budget.perLogBytes / 8)));
    const block = { start: this.#end, bytes: Buffer.allocUnsafeSlow(size), used: 0 };
    this.#blocks.push(block);
    this.#hold(size);
    return block;
  }

  #hold(bytes: number): void {
    this.#heldBytes += bytes;
    this.#budget.usedBytes += bytes;
  }
}
