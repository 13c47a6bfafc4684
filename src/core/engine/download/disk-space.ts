import { statfs } from 'node:fs/promises';
import { formatBytes } from './byte-size.ts';

/** Left free beside a download, so that it does not fill the disk to its last byte. */
const RESERVE_BYTES = 64_000_000;

/** Free bytes that an ordinary user may fill on the disk of `directory`. */
export async function freeDiskBytes(directory: string): Promise<number> {
  const disk = await statfs(directory);
  return disk.bavail * disk.bsize;
}

/** Why a download does not fit on the disk, with both numbers; null when it fits. Pure. */
export function diskSpaceProblem(neededBytes: number, freeBytes: number, directory: string): string | null {
  if (neededBytes + RESERVE_BYTES <= freeBytes) return null;
  return (
    `The download needs ${formatBytes(neededBytes)} and ${formatBytes(RESERVE_BYTES)} to spare, ` +
    `but only ${formatBytes(freeBytes)} are free on the disk of "${directory}". ` +
    'Free some space, or choose another place with LLAMERO_CACHE_DIR (Hugging Face models: HF_HUB_CACHE).'
  );
}
