/**
 * Encodes the head of a GGUF version 3 file: magic, metadata and tensor table.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */

/** A metadata value with the GGUF type it is written as. */
export type GgufValue =
  | { readonly type: 'u32' | 'i32' | 'f32'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'i32s'; readonly value: readonly number[] };

/** A float32 tensor to be placed in the file; `shape` is in GGUF order, the contiguous dimension first. */
export interface GgufTensor {
  readonly name: string;
  readonly shape: readonly number[];
}

/** Where everything lies in the file. */
export interface GgufLayout {
  /** Magic, metadata and tensor table, padded to where the tensor data begins. */
  readonly head: Buffer;
  /** Absolute file position of each tensor's data, by name. */
  readonly positions: ReadonlyMap<string, number>;
  readonly fileBytes: number;
}

const ALIGNMENT_BYTES = 32;
const FLOAT32_BYTES = 4;
const TENSOR_TYPE_F32 = 0;
const TYPE_IDS = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;

/** Lays out a file with the given metadata and tensors; the tensors' data follow in the order given. */
export function layoutGguf(metadata: ReadonlyMap<string, GgufValue>, tensors: readonly GgufTensor[]): GgufLayout {
  const parts: Buffer[] = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(metadata.size)];
  for (const [key, value] of metadata) parts.push(string(key), encodeValue(value));

  const offsets = new Map<string, number>();
  let dataBytes = 0;
  for (const tensor of tensors) {
    offsets.set(tensor.name, dataBytes);
    parts.push(string(tensor.name), u32(tensor.shape.length), ...tensor.shape.map(u64));
    parts.push(u32(TENSOR_TYPE_F32), u64(dataBytes));
    dataBytes = align(dataBytes + elementCount(tensor) * FLOAT32_BYTES);
  }

  const unpadded = Buffer.concat(parts);
  const head = Buffer.concat([unpadded, Buffer.alloc(align(unpadded.length) - unpadded.length)]);
  const positions = new Map([...offsets].map(([name, offset]) => [name, head.length + offset]));
  return { head, positions, fileBytes: head.length + dataBytes };
}

/** Number of elements of a tensor. */
export function elementCount(tensor: GgufTensor): number {
  return tensor.shape.reduce((product, length) => product * length, 1);
}

function encodeValue(value: GgufValue): Buffer {
  switch (value.type) {
    case 'u32':
      return Buffer.concat([u32(TYPE_IDS.u32), u32(value.value)]);
    case 'i32':
      return Buffer.concat([u32(TYPE_IDS.i32), i32(value.value)]);
    case 'f32':
      return Buffer.concat([u32(TYPE_IDS.f32), f32(value.value)]);
    case 'bool':
      return Buffer.concat([u32(TYPE_IDS.bool), Buffer.from([value.value ? 1 : 0])]);
    case 'string':
      return Buffer.concat([u32(TYPE_IDS.string), string(value.value)]);
    case 'strings':
      return array(TYPE_IDS.string, value.value.map(string));
    default:
      return array(TYPE_IDS.i32, value.value.map(i32));
  }
}

function array(elementType: number, elements: readonly Buffer[]): Buffer {
  return Buffer.concat([u32(TYPE_IDS.array), u32(elementType), u64(elements.length), ...elements]);
}

function string(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([u64(bytes.length), bytes]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function i32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

function f32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function align(position: number): number {
  return Math.ceil(position / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
}
