import { totalmem } from 'node:os';

/** Memory of the machine, or of the container that this process runs in; bytes. */
export interface MachineMemory {
  readonly totalBytes: number;
  /** What a new process may take without pushing others out; the container's limit counts. */
  readonly availableBytes: number;
  /** The container's limit (cgroup); null when there is none below the machine's memory. */
  readonly limitBytes: number | null;
}

/** Reads it from the system, cgroup limits included, by way of Node. */
export function readMachineMemory(): MachineMemory {
  const totalBytes = totalmem();
  // 0, or a number larger than the machine, when nothing constrains the process.
  const limit = process.constrainedMemory();
  return {
    totalBytes,
    availableBytes: process.availableMemory(),
    limitBytes: limit > 0 && limit < totalBytes ? limit : null,
  };
}

/** How a need compares with the machine's memory. */
export type MemoryFit = 'fits' | 'tight' | 'too-large';

/** Left to everything else on the machine. */
const RESERVE_SHARE = 0.1;

/**
 * `fits`: within what is available now. `tight`: only when other programs give way. `too-large`: more than the machine or
 * its container has; on CPU it would crawl from disk, or be killed. Pure.
 */
export function memoryFit(neededBytes: number, memory: MachineMemory): MemoryFit {
  const ceiling = Math.min(memory.totalBytes, memory.limitBytes ?? Number.POSITIVE_INFINITY);
  if (neededBytes > ceiling * (1 - RESERVE_SHARE)) return 'too-large';
  return neededBytes > memory.availableBytes ? 'tight' : 'fits';
}
