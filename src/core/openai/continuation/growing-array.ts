/** Below this a loop costs less than a call to the native copy. */
const NATIVE_COPY_FROM = 24;

/** Bytes that are added to; capacity doubles, so an addition costs no allocation but rarely. */
export class GrowingBytes {
  #bytes: Buffer = Buffer.allocUnsafeSlow(64);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  append(from: Buffer, start: number, end: number): void {
    const length = this.#length + end - start;
    if (length > this.#bytes.length) this.#grow(length);
    if (end - start < NATIVE_COPY_FROM) {
      for (let at = start, to = this.#length; at < end; at += 1, to += 1) this.#bytes[to] = from[at] ?? 0;
    } else from.copy(this.#bytes, this.#length, start, end);
    this.#length = length;
  }

  /** Forgets all, and gives the memory back. */
  clear(): void {
    this.#bytes = Buffer.alloc(0);
    this.#length = 0;
  }

  /** A view, valid until the next addition. */
  view(start = 0, end = this.#length): Buffer {
    return this.#bytes.subarray(start, end);
  }

  #grow(least: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, least));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

/** Whole numbers of 32 bits, four bytes each. */
export class GrowingInts {
  #ints = new Int32Array(16);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    if (this.#length === this.#ints.length) {
      const grown = new Int32Array(2 * this.#length);
      grown.set(this.#ints);
      this.#ints = grown;
    }
    this.#ints[this.#length] = value;
    this.#length += 1;
  }

  at(index: number): number {
    return this.#ints[index] ?? 0;
  }

  /** Forgets what stands behind. */
  truncate(length: number): void {
    this.#length = Math.min(this.#length, length);
  }

  /** Forgets all, and gives the memory back. */
  clear(): void {
    this.#ints = new Int32Array(1);
    this.#length = 0;
  }

  /** A view, valid until the next addition. */
  view(start = 0, end = this.#length): Int32Array {
    return this.#ints.subarray(start, end);
  }
}
