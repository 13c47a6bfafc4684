import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
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

const ATTEMPTS = 4;

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

async function fetchAll(file: ReleaseFile, part: string, options: DownloadOptions): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const before = await sizeOf(part);
    if (before >= file.sizeBytes) return;
    try {
      await fetchRest(file, part, before, options);
      if ((await sizeOf(part)) >= file.sizeBytes) return;
    } catch (error) {
      throwIfCancelled(options.signal);
      const failure = describeNetworkError(error, options.server);
      if (failure === error || attempt === ATTEMPTS || (await sizeOf(part)) <= before) throw failure;
      continue;
    }
    if (attempt === ATTEMPTS || (await sizeOf(part)) <= before) {
      const size = await sizeOf(part);
      await rm(part, { force: true });
      throw new LlameroError(
        'install_failed',
        `${file.name} from ${options.server} is truncated: ${size} of ${file.sizeBytes} bytes.`,
      );
    }
  }
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
  await pipeline(body, createWriteStream(part, { flags: received > 0 ? 'a' : 'w' }), { signal });
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
