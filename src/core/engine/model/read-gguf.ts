import { open, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { gguf } from '@huggingface/gguf';
import type { GGUFParseOutput } from '@huggingface/gguf';
import { LlameroError } from '../../errors.ts';
import { endOfData, toGgufFacts } from './gguf-facts.ts';
import type { GgufFacts } from './gguf-facts.ts';
import { HEADER_BYTES, headerProblem } from './gguf-header.ts';
import { parseSplitName, partsOf } from './split-file.ts';

/** Architectures of files that accompany a model and are not one. */
const COMPANIONS: ReadonlyMap<string, string> = new Map([
  ['clip', 'is a multimodal projector (mmproj): name the language model, and hand this one to llama-server as --mmproj'],
]);

/**
 * Reads what a local GGUF holds, all parts of a split one, and checks on the way that it is complete: magic, header,
 * and that the data of every tensor lies within the file.
 * @throws LlameroError `model_not_found` when the file or a part is missing; `invalid_options` when it is a directory,
 * cannot be read, or is not a complete GGUF model. The message says what to do.
 */
export async function readGgufFacts(path: string, signal?: AbortSignal): Promise<GgufFacts> {
  const paths = partsOf(path);
  let fileBytes = 0;
  for (const part of paths) fileBytes += await checkPart(part, path);
  const parsed: GGUFParseOutput[] = [];
  for (const part of paths) {
    signal?.throwIfAborted();
    parsed.push(await parsePart(part));
  }
  const first = parsed[0]!;
  const tensors = parsed.flatMap((part) => part.tensorInfos);
  const facts = toGgufFacts(first.metadata, tensors, fileBytes, paths.length);
  const problem = modelProblem(facts);
  if (problem !== null) throw unusable(path, problem);
  return facts;
}

/**
 * The same from an https address, by range requests: nothing is stored and completeness is not checked.
 * `fetch` carries authorization, proxy and cancellation. `fileBytes` is the sum of all parts where the caller knows it.
 */
export async function readRemoteGgufFacts(
  url: string,
  fileBytes: number,
  fetch: typeof globalThis.fetch,
): Promise<GgufFacts> {
  const parsed: GGUFParseOutput[] = [];
  const urls = partsOf(url);
  for (const part of urls) parsed.push(await gguf(part, { fetch }));
  return toGgufFacts(
    parsed[0]!.metadata,
    parsed.flatMap((part) => part.tensorInfos),
    fileBytes,
    urls.length,
  );
}

/** What makes a readable GGUF no model, in words; null when it is one. Pure. */
export function modelProblem(facts: GgufFacts): string | null {
  if (facts.architecture === 'unknown') return 'is a GGUF without "general.architecture": it holds no model';
  if (facts.tensors === 0) return 'holds no weights (a vocabulary alone?)';
  return COMPANIONS.get(facts.architecture) ?? null;
}

/** Size of the part, after the checks that need no parser. */
async function checkPart(part: string, asked: string): Promise<number> {
  let bytes: number;
  try {
    const entry = await stat(part);
    if (entry.isDirectory()) throw unusable(part, 'is a directory: name the .gguf file in it');
    bytes = entry.size;
  } catch (error) {
    throw error instanceof LlameroError ? error : missing(part, asked, error as NodeJS.ErrnoException);
  }
  const problem = headerProblem(await readHead(part), bytes);
  if (problem !== null) throw unusable(part, problem);
  return bytes;
}

async function readHead(path: string): Promise<Uint8Array> {
  try {
    await using file = await open(path, 'r');
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    throw unusable(path, `cannot be read (${(error as NodeJS.ErrnoException).code}): check its permissions`, error);
  }
}

async function parsePart(part: string): Promise<GGUFParseOutput> {
  let parsed: GGUFParseOutput;
  try {
    parsed = await gguf(part, { allowLocalFile: true });
  } catch (error) {
    throw unusable(part, `is cut off or damaged (${(error as Error).message}): download it again`, error);
  }
  const { size } = await stat(part);
  const end = endOfData(parsed);
  if (end > size) {
    throw unusable(part, `is cut off: it holds ${size} bytes of at least ${end}. Delete it and download it again`);
  }
  return parsed;
}

function missing(part: string, asked: string, error: NodeJS.ErrnoException): LlameroError {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') {
    return unusable(part, `cannot be read (${error.code}): check its permissions`, error);
  }
  const split = parseSplitName(part);
  const message =
    split === null || part === asked
      ? `There is no model at "${part}". Check the path, or name one to download: an https address or user/repo[:quant].`
      : `The model is split into ${split.parts} files, and "${basename(part)}" is missing beside the others: download all parts.`;
  return new LlameroError('model_not_found', message, { param: 'model', cause: error });
}

function unusable(path: string, problem: string, cause?: unknown): LlameroError {
  return new LlameroError('invalid_options', `The model file "${path}" ${problem}.`, { param: 'model', cause });
}
