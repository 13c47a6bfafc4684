import { LlameroError } from './errors.ts';

/** Largest whole answer that is held: embeddings of a large batch stay far below. */
const MAX_ANSWER_BYTES = 128 * 1024 * 1024;

/** Collects an answer that is not streamed. */
export class WholeAnswer {
  #parts: Buffer[] = [];
  #bytes = 0;

  /** @throws LlameroError `engine_bad_response` when it becomes larger than 128 MiB. */
  add(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#bytes > MAX_ANSWER_BYTES) {
      throw new LlameroError('engine_bad_response', `The engine answered more than ${MAX_ANSWER_BYTES} bytes.`);
    }
    this.#parts.push(part);
  }

  /** The bytes so far, uncopied when they came in one piece. */
  bytes(): Buffer {
    const [first] = this.#parts;
    return this.#parts.length === 1 && first !== undefined ? first : Buffer.concat(this.#parts, this.#bytes);
  }
}
