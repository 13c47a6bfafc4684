import { tensorBytes } from './ggml-types.ts';

/** What a scan of the beginning of a GGUF found. */
export type GgufScan =
  | {
      readonly kind: 'complete';
      readonly architecture: string | null;
      /** `<architecture>.pooling_type`: how the model pools embeddings (llama.cpp's numbers); null when it tells none. */
      readonly poolingType: number | null;
      readonly tensors: number;
      /** Where the data of the last tensor ends, in bytes from the beginning of the file. */
      readonly endOfData: number;
    }
  /** The header goes on beyond the bytes that were given. */
  | { readonly kind: 'more' }
  | { readonly kind: 'damaged'; readonly problem: string };

const UINT32 = 4;
const STRING = 8;
const ARRAY = 9;
/** Bytes of a metadata value by its type number; strings and arrays are of any length. */
const VALUE_BYTES: readonly (number | null)[] = [1, 1, 2, 2, 4, 4, 4, 1, null, null, 8, 8, 8];
const DEFAULT_ALIGNMENT = 32;
const DEEPEST_ARRAY = 4;

class OutOfBytes extends Error {}
class Damaged extends Error {}

/**
 * Walks through the header of a GGUF without decoding what it passes, to find out whether the file is complete: some
 * milliseconds where a full parse of a large vocabulary takes a second. Pure; `bytes` is the beginning of the file.
 * Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export function scanGguf(bytes: Uint8Array): GgufScan {
  try {
    return scan(new Cursor(bytes));
  } catch (error) {
    if (error instanceof OutOfBytes) return { kind: 'more' };
    if (error instanceof Damaged) return { kind: 'damaged', problem: error.message };
    throw error;
  }
}

function scan(cursor: Cursor): GgufScan {
  cursor.skip(8);
  const tensors = cursor.size();
  const entries = cursor.size();
  let architecture: string | null = null;
  let poolingType: number | null = null;
  let alignment = DEFAULT_ALIGNMENT;
  for (let index = 0; index < entries; index += 1) {
    const key = cursor.text();
    const type = cursor.uint32();
    if (key === 'general.architecture' && type === STRING) architecture = cursor.text();
    else if (key === 'general.alignment' && type === UINT32) alignment = cursor.uint32();
    else if (key.endsWith('.pooling_type') && type === UINT32) poolingType = cursor.uint32();
    else skipValue(cursor, type, 0);
  }
  if (alignment < 1 || alignment > 1 << 20) throw new Damaged(`its alignment is ${alignment}`);
  let end = 0;
  for (let index = 0; index < tensors; index += 1) {
    cursor.skip(cursor.size());
    const dimensions = cursor.uint32();
    if (dimensions > 8) throw new Damaged(`a tensor has ${dimensions} dimensions`);
    let elements = 1;
    for (let dimension = 0; dimension < dimensions; dimension += 1) elements *= cursor.size();
    const type = cursor.uint32();
    end = Math.max(end, cursor.size() + (tensorBytes(type, elements) ?? 0));
  }
  const start = Math.ceil(cursor.offset / alignment) * alignment;
  // Padding before the data is not written when there is no data.
  return {
    kind: 'complete',
    architecture,
    poolingType,
    tensors,
    endOfData: tensors === 0 ? cursor.offset : start + end,
  };
}

function skipValue(cursor: Cursor, type: number, depth: number): void {
  if (type === STRING) return cursor.skip(cursor.size());
  if (type !== ARRAY) return cursor.skip(valueBytes(type));
  if (depth === DEEPEST_ARRAY) throw new Damaged('its lists are nested too deeply');
  const elementType = cursor.uint32();
  const length = cursor.size();
  const bytes = elementType === STRING || elementType === ARRAY ? null : valueBytes(elementType);
  if (bytes !== null) return cursor.skip(length * bytes);
  for (let index = 0; index < length; index += 1) skipValue(cursor, elementType, depth + 1);
}

function valueBytes(type: number): number {
  const bytes = VALUE_BYTES[type];
  if (bytes === undefined || bytes === null) throw new Damaged(`a value has the unknown type ${type}`);
  return bytes;
}

/** A position in the bytes that never moves backwards or beyond their end. */
class Cursor {
  offset = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  skip(length: number): void {
    if (this.offset + length > this.#bytes.length) throw new OutOfBytes();
    this.offset += length;
  }

  uint32(): number {
    const at = this.offset;
    this.skip(4);
    return this.#view.getUint32(at, true);
  }

  /** A 64-bit size; damaged ones are only inexact, and too large for any file. */
  size(): number {
    const low = this.uint32();
    return this.uint32() * 2 ** 32 + low;
  }

  text(): string {
    const length = this.size();
    const at = this.offset;
    this.skip(length);
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + at, length).toString('utf8');
  }
}
