import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { PassThrough } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
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
import { bytesOf } from './file-size.ts';
import type { HttpClient } from './http-client.ts';
import { createProgressMeter } from './progress-meter.ts';
import type { TransferProgress } from './progress-meter.ts';

/** What {@link downloadFile} needs. */
export interface DownloadOptions {
  readonly url: URL;
  /** Where the complete file will lie; its folder is created. Until then `.part` and `.part.json` lie beside it. */
  readonly target: string;
  /** How messages call the file; default: the name of `target`. */
  readonly label?: string;
  readonly client: Pick<HttpClient, 'dispatcher'>;
  /** Sent to the origin of `url` only. */
  readonly headers?: Record<string, string>;
  /** From another source than the download itself, such as a repository's listing; so is `bytes`, the size. */
  readonly checksum?: Checksum;
  readonly bytes?: number;
  /** Attempts in a row without a new byte, before it is given up. Default: 3, and 6 once something has come. */
  readonly futileAttempts?: number;
  /** Whether to keep other processes away from `target`; false where the caller does. Default true. */
  readonly lock?: boolean;
  /** Words for an answer without a file, and for a transfer that broke; `what` is the label. Default: as for any web address. */
  readonly explainStatus?: (status: number, what: string) => LlameroError;
  readonly explainBreak?: (error: unknown, what: string) => LlameroError;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: TransferProgress) => void) | undefined;
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
}

/** What may wait for the disk. */
const WRITE_BUFFER_BYTES = 1024 * 1024;

/**
 * Downloads one file: resumes what an earlier attempt or process left, retries while bytes keep coming, checks disk
 * space first and size and checksum last, and renames the file into place only then. Of several processes that want
 * the same target one downloads and the others wait.
 *
 * undici's own retry agent is not used: it cannot continue after a restart of the process, and it would ask the last
 * redirect again, whose signed address may have expired.
 *
 * @returns the checksum that was verified; null when the server told none, or when the file was there already
 * @throws LlameroError `model_not_found` (401, 403, 404, unless `explainStatus` says otherwise), `install_failed`, `cancelled`
 */
export async function downloadFile(options: DownloadOptions): Promise<Checksum | null> {
  const { target, signal, onProgress, explainBreak = transferError } = options;
  const { label = basename(target), lock = true } = options;
  const part = `${target}.part`;
  const transfer = { ...options, label, part, note: `${part}.json` };
  try {
    await mkdir(dirname(target), { recursive: true });
    if (await exists(target)) return null;
    if (!lock) return await transferAndVerify(transfer);
    const onWait = (waitedMs: number) => {
      const message = `Another process downloads ${label}; waiting (${Math.round(waitedMs / 1000)} s)`;
      onProgress?.({ step: 'wait', fraction: null, message });
    };
    return await withFileLock(target, { signal, onWait }, async (lockSignal) =>
      (await exists(target)) ? null : await transferAndVerify({ ...transfer, signal: lockSignal }),
    );
  } catch (error) {
    if (signal?.aborted === true) {
      const message = `The download of ${label} was cancelled; what has come is kept.`;
      throw new LlameroError('cancelled', message, { cause: error });
    }
    throw isLocalFailure(error) ? transferError(error, label) : explainBreak(error, label);
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
      const message = `${transfer.label} is corrupted: it is not what its checksum says. It was removed; try again.`;
      throw new LlameroError('install_failed', message);
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
      if (transfer.signal?.aborted === true || isFinal(error)) throw error;
      const have = await bytesOf(transfer.part);
      futile = have > most ? 0 : futile + 1;
      most = Math.max(most, have);
      const delayMs = retryDelayMs(futile, most > begin, transfer.futileAttempts);
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
  const range = { offset: have, validator: note?.validator ?? null };
  const response = await openDownload(url, headers, range, client.dispatcher, signal);
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
  await store(response, { url: url.href, validator: response.validator, checksum }, transfer);
  return checksum;
}

async function refuseBadStatus({ status, body }: DownloadResponse, transfer: Transfer): Promise<void> {
  if (status === 200 || status === 206) return;
  await body.dump();
  const { code, message } = (transfer.explainStatus ?? statusError)(status, transfer.label);
  throw new LlameroError(code, message, { details: { status } });
}

/** Whether the bytes of an answer continue the ones that are there. A whole file (200) always fits: it replaces them. */
function fitsTo(response: DownloadResponse, have: number, note: PartNote | null): boolean {
  if (response.status === 200) return true;
  const sameVersion = note?.validator == null || response.validator === null || note.validator === response.validator;
  return response.offset === have && sameVersion;
}

async function checkSpace(offset: number, totalBytes: number | null, transfer: Transfer): Promise<void> {
  if (totalBytes === null) return;
  const directory = dirname(transfer.target);
  const free = await (transfer.freeBytes ?? freeDiskBytes)(directory);
  const replaced = offset === 0 ? await bytesOf(transfer.part) : 0;
  const problem = diskSpaceProblem(totalBytes - offset, free + replaced, directory);
  if (problem !== null) throw new LlameroError('install_failed', problem);
}

/**
 * Appends what arrives to the part, or begins it anew. All that had arrived when the connection broke is kept, which
 * `pipeline` alone would throw away.
 */
async function store(response: DownloadResponse, note: PartNote, transfer: Transfer): Promise<void> {
  const { body, offset } = response;
  const totalBytes = transfer.bytes ?? response.totalBytes;
  const meter = createProgressMeter('download', `Downloading ${transfer.label}`, transfer.onProgress);
  let received = offset;
  body.on('data', (chunk: Buffer) => {
    received += chunk.length;
    meter(received, totalBytes);
  });
  const arrived = new PassThrough({ highWaterMark: WRITE_BUFFER_BYTES });
  body.pipe(arrived, { end: false });
  const write = async () => {
    try {
      await checkSpace(offset, totalBytes, transfer);
      await writeFile(transfer.note, JSON.stringify(note));
      await pipeline(arrived, createWriteStream(transfer.part, { flags: offset > 0 ? 'a' : 'w', flush: true }));
    } catch (error) {
      body.destroy();
      throw error;
    }
  };
  const [written, come] = await Promise.allSettled([write(), finished(body).finally(() => arrived.end())]);
  if (written.status === 'rejected') throw written.reason;
  if (come.status === 'rejected') throw come.reason;
  if (totalBytes !== null && received < totalBytes) {
    throw new Error(`what came is truncated: ${formatBytes(received)} of ${formatBytes(totalBytes)}`);
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

async function discard(transfer: Transfer): Promise<void> {
  await rm(transfer.part, { force: true });
  await rm(transfer.note, { force: true });
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
