/** How many bytes {@link headerProblem} wants to see. */
export const HEADER_BYTES = 24;

/** Least bytes of one metadata entry (key length, one-byte value type and value) and of one tensor entry. */
const LEAST_METADATA_BYTES = 8 + 4 + 1;
const LEAST_TENSOR_BYTES = 8 + 4 + 4 + 8;

/**
 * What is wrong with the first bytes of a file that should be a GGUF, in words; null when they are plausible. It keeps
 * the parser from walking through counts that the file cannot hold.
 * Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export function headerProblem(head: Uint8Array, fileBytes: number): string | null {
  if (fileBytes === 0) return 'is empty';
  const magic = Buffer.from(head.subarray(0, 4)).toString('latin1');
  if (magic !== 'GGUF') return describeForeign(head, magic);
  if (head.length < HEADER_BYTES || fileBytes < HEADER_BYTES) return 'is cut off: not even its header is complete';
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const version = view.getUint32(4, true);
  if (version === 1) return 'is a GGUF of version 1, which llama.cpp no longer reads: convert the model anew';
  if ((version & 0xffff) === 0) return 'is a big-endian GGUF, which llama-server cannot read on this machine';
  const tensors = Number(view.getBigUint64(8, true));
  const entries = Number(view.getBigUint64(16, true));
  if (tensors * LEAST_TENSOR_BYTES + entries * LEAST_METADATA_BYTES > fileBytes) {
    return 'is cut off or damaged: its header promises more than the file holds';
  }
  return null;
}

function describeForeign(head: Uint8Array, magic: string): string {
  const text = Buffer.from(head).toString('latin1');
  if (text.startsWith('version https://git')) {
    return 'is a Git LFS pointer, not the model itself: run `git lfs pull`, or let llamero download the model';
  }
  if (/^\s*<(!doctype|html)/i.test(text)) return 'is a web page, not a model: the address was not that of the file';
  if (magic.startsWith('PK'))
    return 'is a zip archive (a PyTorch model?), not a GGUF: convert it, or take a GGUF of it';
  if (['ggml', 'ggjt', 'lmgg', 'tjgg'].includes(magic)) return 'is in the old GGML format: take or convert to a GGUF';
  return 'is not a GGUF: it does not begin with "GGUF"';
}
