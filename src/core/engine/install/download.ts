import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { request, type Dispatcher } from 'undici';
import { LlameroError } from '../../errors.ts';
import type { OnInstallProgress } from './install-progress.ts';
import { describeNetworkError, type ReleaseFile } from './release-index.ts';
import { throwIfCancelled } from './run-command.ts';

/** Options of {@link downloadVerified}. */
export interface DownloadOptions {
  dispatcher: Dispatcher;
  /** The server's name, for messages. */
  server: string;
  signal?: AbortSignal;
  onProgress: OnInstallProgress;
}

/** After this many attempts in a row that brought nothing, a download has failed. */
const FUTILE_ATTEMPTS = 2;
const RETRY_DELAY_MS = 500;
/** What may wait for the disk. */
const WRITE_BUFFER_BYTES = 1024 * 1024;

/**
 * Downloads a file and checks its size and SHA-256. What arrived is kept in `<target>.part` and continued by a Range
 * request, within this call after a broken connection and by a later call after an interruption. Only a verified file
 * gets the name `target`.
 * @throws LlameroError `install_failed` (unreachable, missing, broken too often, wrong checksum), `cancelled`.
 */
export async function downloadVerified(file: ReleaseFile, target: string, options: DownloadOptions): Promise<void> {
  const { signal, onProgress, server } = options;
  await mkdir(path.dirname(target), { recursive: true });
  const part = `${target}.part`;
  const continued = await sizeOf(part);
  await fetchAll(file, part, options);
  onProgress({ step: 'verify', fraction: null, message: `Verifying ${file.name}` });
  if (!(await isVerified(file, part, signal))) {
    await rm(part, { force: true });
    // Old bytes of a file that has since been replaced look just like a corrupted one: once more from nothing.
    if (continued > 0) return downloadVerified(file, target, options);
    throw new LlameroError(
      'install_failed',
      `${file.name} from ${server} is corrupted: it is not what its checksum says. It was thrown away.`,
    );
  }
  await rename(part, target);
}

/** Requests the rest again and again, as long as something arrives. */
async function fetchAll(file: ReleaseFile, part: string, options: DownloadOptions): Promise<void> {
  let futile = 0;
  for (;;) {
    const before = await sizeOf(part);
    if (before >= file.sizeBytes) return;
    let failure = new LlameroError('install_failed', `${file.name} from ${options.server} is truncated.`);
    try {
      await fetchRest(file, part, before, options);
    } catch (error) {
      throwIfCancelled(options.signal);
      failure = describeNetworkError(error, options.server);
      // An answer that says no, or a disk that is full, does not change by asking again.
      if (failure === error) throw failure;
    }
    futile = (await sizeOf(part)) > before ? 0 : futile + 1;
    if (futile === FUTILE_ATTEMPTS) throw failure;
    if (futile > 0) await pause(options.signal);
  }
}

async function pause(signal: AbortSignal | undefined): Promise<void> {
  await delay(RETRY_DELAY_MS, undefined, { signal }).catch(() => throwIfCancelled(signal));
}

/** One request for what is missing; appends to the part file. */
async function fetchRest(file: ReleaseFile, part: string, have: number, options: DownloadOptions): Promise<void> {
  const { dispatcher, server, signal, onProgress } = options;
  const headers: Record<string, string> = { 'user-agent': 'llamero' };
  if (have > 0) headers['range'] = `bytes=${have}-`;
  const { statusCode, body } = await request(file.url, { dispatcher, headers, signal });
  if (statusCode !== 200 && statusCode !== 206) {
    await body.dump();
    if (statusCode === 416) return rm(part, { force: true });
    const what = statusCode === 404 ? `has no ${file.name}` : `answered with status ${statusCode} for ${file.name}`;
    throw new LlameroError('install_failed', `${server} ${what}.`);
  }
  // 200 to a Range request: the server sends everything again.
  let received = statusCode === 206 ? have : 0;
  const message = `Downloading ${file.name} (${megabytes(file.sizeBytes)} MB)`;
  body.on('data', (chunk: Buffer) => {
    received += chunk.length;
    onProgress({ step: 'download', fraction: Math.min(received / file.sizeBytes, 1), message });
  });
  await keepAll(body, createWriteStream(part, { flags: received > 0 ? 'a' : 'w', highWaterMark: WRITE_BUFFER_BYTES }));
}

/** Writes what arrives, and when the connection breaks all that had arrived: `pipeline` would throw that away. */
async function keepAll(body: Readable, out: Writable): Promise<void> {
  const written = finished(out).catch((error: unknown) => {
    const failure = new LlameroError('install_failed', `The download cannot be written: ${(error as Error).message}`, {
      cause: error,
    });
    body.destroy(failure);
    throw failure;
  });
  body.pipe(out, { end: false });
  try {
    await finished(body);
  } finally {
    out.end();
    await written;
  }
}

async function isVerified(file: ReleaseFile, part: string, signal: AbortSignal | undefined): Promise<boolean> {
  if ((await sizeOf(part)) !== file.sizeBytes) return false;
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(part), hash, { signal });
  } catch (error) {
    throwIfCancelled(signal);
    throw error;
  }
  return hash.digest('hex') === file.sha256;
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
}
