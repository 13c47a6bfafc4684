import { chmod, lstat, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { LlameroError } from '../core/errors.ts';

/**
 * The private folder of debug files. They hold what was in memory, prompts and keys included: folder and files are for
 * their owner alone, and the oldest go before they fill the disk.
 */

/** What is kept of each kind of file, the newest first. */
export interface DebugFolderBounds {
  readonly maxFiles: number;
  /** All kept files of a kind together; the newest one is kept whatever its size. */
  readonly maxBytes: number;
}

/** Five files of a kind, 4 GiB together. */
export const DEBUG_FOLDER_BOUNDS: DebugFolderBounds = { maxFiles: 5, maxBytes: 4 * 1024 ** 3 };

/** The kinds of files, by their ending. */
export type DebugFileKind = 'heapsnapshot' | 'cpuprofile';

/** A file that was written. */
export interface DebugFile {
  /** Absolute path. */
  readonly file: string;
  readonly bytes: number;
  /** How long it took, in ms. */
  readonly tookMs: number;
}

/** What is left of a process that died while it wrote goes after this long, in ms. */
const ABANDONED_MS = 3_600_000;
const UNFINISHED = '.part';

/**
 * Has `write` fill a new file of mode 0600 in the folder, which is made if need be, and removes the oldest of its kind.
 * @throws LlameroError `internal_error` when the folder is not a private one, or the file cannot be written; without
 *   paths, since it may cross HTTP.
 */
export async function writeDebugFile(
  folder: string,
  kind: DebugFileKind,
  write: (file: string) => void | Promise<void>,
  bounds: DebugFolderBounds = DEBUG_FOLDER_BOUNDS,
): Promise<DebugFile> {
  const startedAt = performance.now();
  const file = path.join(path.resolve(folder), `llamero-${timestamp(new Date())}-${process.pid}.${kind}`);
  const unfinished = file + UNFINISHED;
  try {
    await makePrivate(folder);
    await write(unfinished);
    await chmod(unfinished, 0o600);
    await rename(unfinished, file);
    const { size } = await stat(file);
    await prune(folder, kind, bounds);
    return { file, bytes: size, tookMs: Math.round(performance.now() - startedAt) };
  } catch (error) {
    await rm(unfinished, { force: true });
    throw unwritable(error);
  }
}

/** What goes: beyond the bounds, oldest first. The newest stays. Pure. */
export function filesToRemove(
  files: readonly { readonly name: string; readonly bytes: number; readonly modifiedMs: number }[],
  { maxFiles, maxBytes }: DebugFolderBounds,
): string[] {
  let kept = 0;
  let bytes = 0;
  return files
    .toSorted((a, b) => b.modifiedMs - a.modifiedMs || (a.name < b.name ? 1 : -1))
    .filter((file) => {
      if (kept > 0 && (kept >= maxFiles || bytes + file.bytes > maxBytes)) return true;
      kept += 1;
      bytes += file.bytes;
      return false;
    })
    .map(({ name }) => name);
}

async function makePrivate(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const facts = await lstat(folder);
  const user = process.getuid?.();
  if (!facts.isDirectory() || (user !== undefined && facts.uid !== user)) {
    throw new LlameroError('internal_error', 'The place of the debug files is no folder of this user.');
  }
  // Windows has no such modes: there the folder is as private as the user's profile, in which it lies.
  if (user !== undefined && (facts.mode & 0o077) !== 0) await chmod(folder, 0o700);
}

async function prune(folder: string, kind: DebugFileKind, bounds: DebugFolderBounds): Promise<void> {
  const files = [];
  for (const name of await readdir(folder)) {
    if (!name.startsWith('llamero-')) continue;
    const facts = await stat(path.join(folder, name)).catch(() => null);
    // Another llamero of this user may have removed it.
    if (facts === null) continue;
    if (name.endsWith(`.${kind}`)) files.push({ name, bytes: facts.size, modifiedMs: facts.mtimeMs });
    else if (name.endsWith(UNFINISHED) && Date.now() - facts.mtimeMs > ABANDONED_MS) {
      await rm(path.join(folder, name), { force: true });
    }
  }
  for (const name of filesToRemove(files, bounds)) await rm(path.join(folder, name), { force: true });
}

function unwritable(error: unknown): LlameroError {
  if (error instanceof LlameroError) return error;
  const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
  return new LlameroError('internal_error', `The debug file could not be written (${reason}).`, { cause: error });
}

/** Such as `20260131T235959123Z`: sorts by time, and is a valid file name everywhere. */
function timestamp(now: Date): string {
  return now.toISOString().replaceAll(/[-:.]/g, '');
}
