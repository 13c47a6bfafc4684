import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { LlameroError } from '../../errors.ts';
import { formatBytes } from './byte-size.ts';
import { hashFile } from './checksum.ts';
import type { Checksum } from './checksum.ts';
import { diskSpaceProblem, freeDiskBytes } from './disk-space.ts';
import { isLocalFailure, isPassingStatus, retryDelayMs, statusError, transferError } from './download-failure.ts';
import { openDownload } from './download-response.ts';
import type { DownloadResponse } from './download-response.ts';
import { withFileLock } from './file-lock.ts';
import type { HttpClient } from './http-client.ts';
import { createProgressMeter } from './progress-meter.ts';
import type { ModelProgress } from './progress-meter.ts';

/** What {@link downloadFile} needs. */
export interface DownloadOptions {
  readonly url: URL;
  /** Where the complete file will lie; its folder is created. Until then `.part` and `.part.json` lie beside it. */
  readonly target: string;
  /** How messages call the file; default: the name of `target`. */
  readonly label?: string;
  readonly client: HttpClient;
  /** Sent to the origin of `url` only. */
  readonly headers?: Record<string, string>;
  /** From another source than the download itself, such as a repository's listing. */
  readonly checksum?: Checksum;
  /** Whether the server is Hugging Face or a mirror of it: messages then name `HF_TOKEN`. Default false. */
  readonly hub?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ModelProgress) => void;
  /** Free bytes on the disk of a folder; tests bring their own. */
  readonly freeBytes?: (directory: string) => Promise<number>;
}

/** Remembered beside the bytes that have come, to know whether the rest still fits to them. */
interface PartNote {
  readonly url: string;
  readonly validator: string | null;
  readonly checksum: Checksum | null;
}

interface Transfer extends DownloadOptions {
  readonly label: string;
  readonly part: string;
  readonly note: string;
  readonly signal: AbortSignal;
}

/**
 * Downloads one file: resumes what an earlier attempt or process left, retries while bytes keep coming, checks disk
 * space first and size and checksum last, and renames the file into place only then. Of several processes that want
 * the same target one downloads and the others wait.
 *
 * undici's own retry agent is not used: it cannot continue after a restart of the process, and it would ask the last
 * redirect again, whose signed address may have expired.
 *
 * @returns the checksum that was verified; null when the server told none, or when the file was there already
 * @throws LlameroError `model_not_found` (401, 403, 404), `install_failed`, `cancelled`
 */
export async function downloadFile(options: DownloadOptions): Promise<Checksum | null> {
  const label = options.label ?? basename(options.target);
  try {
    await mkdir(dirname(options.target), { recursive: true });
    if (await exists(options.target)) return null;
    const onWait = () =>
      options.onProgress?.({
        step: 'download',
        fraction: null,
        message: `Another process downloads ${label}: waiting`,
      });
    return await withFileLock(options.target, { signal: options.signal, onWait }, async (signal) => {
      if (await exists(options.target)) return null;
      const part = `${options.target}.part`;
      return await transferAndVerify({ ...options, label, signal, part, note: `${part}.json` });
    });
  } catch (error) {
    if (options.signal?.aborted === true) {
      throw new LlameroError('cancelled', `The download of ${label} was cancelled; what has come is kept.`, {
        cause: error,
      });
    }
    throw transferError(error, label);
  }
}

async function transferAndVerify(transfer: Transfer): Promise<Checksum | null> {
  const resumed = (await bytesOf(transfer.part)) > 0;
  let checksum = await transferAll(transfer);
  if (!(await verify(transfer, checksum))) {
    await discard(transfer);
    // Bytes of an earlier run may have been of an older version of the file: once more, from the beginning.
    if (resumed) checksum = await transferAll(transfer);
    if (!resumed || !(await verify(transfer, checksum))) {
      await discard(transfer);
      throw new LlameroError(
        'install_failed',
        `${transfer.label} came damaged: its ${checksum?.algorithm} is not the one that was announced. It was removed; try again.`,
      );
    }
  }
  await rename(transfer.part, transfer.target);
  await rm(transfer.note, { force: true });
  return checksum;
}

/** Attempts until the part is complete; each goes on where the last one stopped. */
async function transferAll(transfer: Transfer): Promise<Checksum | null> {
  let futile = 0;
  let most = await bytesOf(transfer.part);
  const begin = most;
  for (;;) {
    try {
      return await attempt(transfer);
    } catch (error) {
      if (transfer.signal.aborted || isFinal(error)) throw error;
      const have = await bytesOf(transfer.part);
      futile = have > most ? 1 : futile + 1;
      most = Math.max(most, have);
      const delayMs = retryDelayMs(futile, most > begin);
      if (delayMs === null) throw error;
      await sleep(delayMs, undefined, { signal: transfer.signal });
    }
  }
}

function isFinal(error: unknown): boolean {
  return error instanceof LlameroError ? !isPassingStatus(Number(error.details.status ?? 0)) : isLocalFailure(error);
}

async function attempt(transfer: Transfer): Promise<Checksum | null> {
  const { url, headers = {}, client, signal, part } = transfer;
  const note = await readNote(transfer);
  const have = note === null ? 0 : await bytesOf(part);
  const response = await openDownload(
    url,
    headers,
    { offset: have, validator: note?.validator ?? null },
    client,
    signal,
  );
  const checksum = transfer.checksum ?? response.checksum ?? note?.checksum ?? null;
  if (response.status === 416) {
    await response.body.dump();
    // Everything had come already, or the file is another one by now: the checksum decides.
    if (checksum !== null && note !== null) return checksum;
    await discard(transfer);
    throw new Error('the server no longer has the file that was begun');
  }
  await refuseBadStatus(response, transfer);
  if (!fitsTo(response, have, note)) {
    response.body.destroy();
    await discard(transfer);
    throw new Error('the file has changed on the server');
  }
  try {
    await checkSpace(response, transfer);
    await writeNote(transfer, { url: url.href, validator: response.validator, checksum });
  } catch (error) {
    response.body.destroy();
    throw error;
  }
  await store(response, transfer);
  return checksum;
}

async function refuseBadStatus(response: DownloadResponse, transfer: Transfer): Promise<void> {
  if (response.status === 200 || response.status === 206) return;
  await response.body.dump();
  const error = statusError(response.status, transfer.label, transfer.hub ?? false);
  throw new LlameroError(error.code, error.message, { details: { status: response.status } });
}

/** Whether the bytes of an answer continue the ones that are there. A whole file (200) always fits: it replaces them. */
function fitsTo(response: DownloadResponse, have: number, note: PartNote | null): boolean {
  if (response.status === 200) return true;
  const sameVersion = note?.validator == null || response.validator === null || note.validator === response.validator;
  return response.offset === have && sameVersion;
}

async function checkSpace(response: DownloadResponse, transfer: Transfer): Promise<void> {
  if (response.totalBytes === null) return;
  const directory = dirname(transfer.target);
  const free = await (transfer.freeBytes ?? freeDiskBytes)(directory);
  const replaced = response.offset === 0 ? await bytesOf(transfer.part) : 0;
  const problem = diskSpaceProblem(response.totalBytes - response.offset, free + replaced, directory);
  if (problem !== null) throw new LlameroError('install_failed', problem);
}

async function store(response: DownloadResponse, transfer: Transfer): Promise<void> {
  const meter = createProgressMeter('download', `Downloading ${transfer.label}`, transfer.onProgress);
  let received = response.offset;
  const count = async function* (chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      received += chunk.length;
      meter(received, response.totalBytes);
      yield chunk;
    }
  };
  const file = createWriteStream(transfer.part, { flags: response.offset > 0 ? 'a' : 'w', flush: true });
  await pipeline(response.body, count, file, { signal: transfer.signal });
  if (response.totalBytes !== null && received < response.totalBytes) {
    throw new Error(`the connection ended after ${formatBytes(received)} of ${formatBytes(response.totalBytes)}`);
  }
}

async function verify(transfer: Transfer, checksum: Checksum | null): Promise<boolean> {
  if (checksum === null) {
    const message = `The server tells no checksum of ${transfer.label}: only its size was checked`;
    transfer.onProgress?.({ step: 'verify', fraction: 1, message });
    return true;
  }
  const total = await bytesOf(transfer.part);
  const meter = createProgressMeter('verify', `Checking ${transfer.label}`, transfer.onProgress);
  const hex = await hashFile(transfer.part, checksum.algorithm, total, {
    signal: transfer.signal,
    onBytes: (read) => meter(read, total),
  });
  return hex === checksum.hex;
}

/** The note of an earlier attempt, if the bytes beside it can be continued at all. */
async function readNote(transfer: Transfer): Promise<PartNote | null> {
  let note: PartNote;
  try {
    note = JSON.parse(await readFile(transfer.note, 'utf8')) as PartNote;
  } catch {
    // Missing, or cut off when the process was killed: begin anew.
    return null;
  }
  if (note.url !== transfer.url.href) return null;
  return note.validator !== null || note.checksum !== null ? note : null;
}

async function writeNote(transfer: Transfer, note: PartNote): Promise<void> {
  await writeFile(transfer.note, JSON.stringify(note));
}

async function discard(transfer: Transfer): Promise<void> {
  await rm(transfer.part, { force: true });
  await rm(transfer.note, { force: true });
}

async function bytesOf(path: string): Promise<number> {
  return await stat(path).then(
    (entry) => entry.size,
    // Not there yet.
    () => 0,
  );
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
