import { statfs } from 'node:fs/promises';
import { getHeapStatistics, writeHeapSnapshot } from 'node:v8';
import { LlameroError } from '../core/errors.ts';
import { type DebugFile, writeDebugFile } from './debug-folder.ts';

const MEGABYTE = 1024 * 1024;

/**
 * Memory that a snapshot takes while it is made, as a multiple of the heap in use. Node's documentation says twice the heap;
 * measured with Node 24 are 7 to 9 times what is in use of 5 to 140 MB of small objects.
 */
const MEMORY_PER_HEAP_BYTE = 8;
/** Size of the file, as a multiple of the heap in use; measured: 1.2 to 1.7. */
const FILE_BYTES_PER_HEAP_BYTE = 2;
/** Left to the rest of the process and of the machine. */
const RESERVE_BYTES = 64 * MEGABYTE;

/** What decides whether a snapshot may be made; bytes. */
export interface SnapshotRoom {
  /** In use by objects. */
  readonly heapBytes: number;
  /** What this process may still take, the limit of its control group included. */
  readonly availableBytes: number;
  /** Free space where the file would lie. */
  readonly freeDiskBytes: number;
}

/**
 * Writes a heap snapshot into the folder. The process does nothing else meanwhile: about a second for each 20 MB of heap in use.
 * The file holds everything that was in memory, prompts and keys included.
 *
 * @param availableBytes Default: what the system says, the limit of the control group included.
 * @throws LlameroError `memory_pressure` when it would need more memory or disk than there is; `internal_error` when the
 *   file cannot be written.
 */
export async function writeHeapSnapshotFile(
  folder: string,
  availableBytes: () => number = () => process.availableMemory(),
): Promise<DebugFile> {
  return await writeDebugFile(folder, 'heapsnapshot', async (file) => {
    const refusal = refuseSnapshot({
      heapBytes: getHeapStatistics().used_heap_size,
      availableBytes: availableBytes(),
      freeDiskBytes: await freeBytes(folder),
    });
    if (refusal !== null) throw refusal;
    writeHeapSnapshot(file);
  });
}

/** @returns why there is no room for a snapshot, or null. Pure. */
export function refuseSnapshot({ heapBytes, availableBytes, freeDiskBytes }: SnapshotRoom): LlameroError | null {
  const memory = heapBytes * MEMORY_PER_HEAP_BYTE + RESERVE_BYTES;
  if (availableBytes < memory) return noRoom('memory', memory, availableBytes);
  const disk = heapBytes * FILE_BYTES_PER_HEAP_BYTE + RESERVE_BYTES;
  return freeDiskBytes < disk ? noRoom('disk space', disk, freeDiskBytes) : null;
}

function noRoom(what: string, neededBytes: number, availableBytes: number): LlameroError {
  const [needed, available] = [neededBytes, availableBytes].map((bytes) => Math.round(bytes / MEGABYTE));
  return new LlameroError(
    'memory_pressure',
    `A heap snapshot may need ${needed} MB of ${what} now, and ${available} MB are available.`,
    { details: { neededBytes, availableBytes } },
  );
}

async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}
