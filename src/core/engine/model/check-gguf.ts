import { open, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { LlameroError } from '../../errors.ts';
import { HEADER_BYTES, headerProblem } from './gguf-header.ts';
import { scanGguf } from './gguf-scan.ts';
import type { GgufScan } from './gguf-scan.ts';
import { parseSplitName, partsOf } from './split-file.ts';

/** Enough for the header of most models at the first try; doubled while it is not. */
const FIRST_READ_BYTES = 4 << 20;
/** No header of a real model comes near it: the largest vocabularies take about 30 MB. */
const LARGEST_HEADER_BYTES = 256 << 20;

/** Architectures of files that accompany a model and are not one. */
const COMPANIONS: ReadonlyMap<string, string> = new Map([
  [
    'clip',
    'is a multimodal projector (mmproj): name the language model, and hand this file to llama-server as --mmproj',
  ],
]);

/** A local GGUF that is complete. */
export interface CheckedGguf {
  /** All parts, the first one first; one path when it is not split. */
  readonly paths: readonly string[];
  /** Bytes of all parts. */
  readonly bytes: number;
  /** How the model pools embeddings (`<architecture>.pooling_type`, llama.cpp's numbers); null when it tells none. */
  readonly poolingType: number | null;
}

/**
 * Finds out within milliseconds whether `path` is a complete GGUF model, all parts of a split one included: magic,
 * header, and that the data of every tensor lies within the file.
 * @throws LlameroError `model_not_found` when the file or a part is missing; `invalid_options` when it is a directory,
 * cannot be read, or is not a complete model. The message says what to do.
 */
export async function checkGgufModel(path: string, signal?: AbortSignal): Promise<CheckedGguf> {
  const paths = partsOf(path);
  let bytes = 0;
  let poolingType: number | null = null;
  for (const [index, part] of paths.entries()) {
    signal?.throwIfAborted();
    const checked = await checkPart(part, path);
    const problem = index === 0 ? modelProblem(checked.scan) : null;
    if (problem !== null) throw unusableModel(path, problem);
    bytes += checked.bytes;
    poolingType ??= checked.scan.poolingType;
  }
  return { paths, bytes, poolingType };
}

/** The error for a file that is there and cannot be used; `problem` continues "The model file "x" …". */
export function unusableModel(path: string, problem: string, cause?: unknown): LlameroError {
  return new LlameroError('invalid_options', `The model file "${path}" ${problem}.`, { param: 'model', cause });
}

type CompleteScan = Extract<GgufScan, { kind: 'complete' }>;

/** What makes a complete GGUF no model, in words; null when it is one. */
function modelProblem(scan: CompleteScan): string | null {
  if (scan.architecture === null) return 'is a GGUF without "general.architecture": it holds no model';
  return COMPANIONS.get(scan.architecture) ?? (scan.tensors === 0 ? 'holds no weights, a vocabulary at most' : null);
}

async function checkPart(part: string, asked: string): Promise<{ scan: CompleteScan; bytes: number }> {
  try {
    const entry = await stat(part);
    if (entry.isDirectory()) throw unusableModel(part, 'is a directory: name the .gguf file in it');
    await using file = await open(part, 'r');
    const scan = await scanFile(file, entry.size, part);
    if (scan.endOfData > entry.size) {
      throw unusableModel(part, `is cut off: it has ${entry.size} of ${scan.endOfData} bytes. Download it again`);
    }
    return { scan, bytes: entry.size };
  } catch (error) {
    throw error instanceof LlameroError ? error : unreadable(part, asked, error as NodeJS.ErrnoException);
  }
}

async function scanFile(file: FileHandle, fileBytes: number, part: string): Promise<CompleteScan> {
  const problem = headerProblem(await readStart(file, HEADER_BYTES), fileBytes);
  if (problem !== null) throw unusableModel(part, problem);
  for (let length = FIRST_READ_BYTES; ; length *= 2) {
    const scan = scanGguf(await readStart(file, Math.min(length, fileBytes)));
    if (scan.kind === 'complete') return scan;
    if (scan.kind === 'damaged') throw unusableModel(part, `is damaged: ${scan.problem}. Download it again`);
    if (length >= fileBytes) throw unusableModel(part, 'is cut off within its header. Download it again');
    if (length >= LARGEST_HEADER_BYTES) throw unusableModel(part, 'is damaged: its header does not end');
  }
}

async function readStart(file: FileHandle, length: number): Promise<Uint8Array> {
  const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(length), 0, length, 0);
  return buffer.subarray(0, bytesRead);
}

function unreadable(part: string, asked: string, error: NodeJS.ErrnoException): LlameroError {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') {
    return unusableModel(part, `cannot be read (${error.code ?? error.message}): check its permissions`, error);
  }
  const split = parseSplitName(part);
  const message =
    split === null || part === asked
      ? `There is no model at "${part}". Check the path, or name one to download: an https address or user/repo[:quant].`
      : `The model is split into ${split.parts} files, and "${basename(part)}" is missing beside the others: download all parts.`;
  return new LlameroError('model_not_found', message, { param: 'model', cause: error });
}
