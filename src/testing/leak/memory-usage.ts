import { readFileSync } from 'node:fs';

/** Memory of this process, in bytes. */
export interface MemoryUsage {
  /** Objects on V8's heap. */
  readonly heap: number;
  /** Outside of the heap, but held by its objects: buffers. */
  readonly external: number;
  /** Anonymous resident memory, swap included: all that the process allocated itself. null: not told by this system (only Linux does). */
  readonly anonymous: number | null;
}

/** The kinds of memory that are measured. */
export const MEMORY_KINDS = ['heap', 'external', 'anonymous'] as const;
/** See {@link MEMORY_KINDS}. */
export type MemoryKind = (typeof MEMORY_KINDS)[number];

/** What this process uses now; collect garbage first. */
export function readMemory(): MemoryUsage {
  const { heapUsed, external } = process.memoryUsage();
  return { heap: heapUsed, external, anonymous: process.platform === 'linux' ? readAnonymous() : null };
}

function readAnonymous(): number {
  const status = readFileSync('/proc/self/status', 'utf8');
  return 1024 * (kilobytes(status, 'RssAnon') + kilobytes(status, 'VmSwap'));
}

function kilobytes(status: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0);
}
