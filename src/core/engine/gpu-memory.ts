import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const MEGABYTE = 1024 * 1024;
/** `nvidia-smi` talks to the driver, which takes it up to a second on machines with many GPUs. */
const TIMEOUT_MS = 5000;
/** It is a process of its own, so it is asked less often than the system is. */
const LEAST_INTERVAL_MS = 30_000;

/**
 * Memory of one process on NVIDIA's GPUs, as `nvidia-smi` tells it. Other makes have no tool that tells it by process everywhere; and
 * from within a container the ids of processes may be other ones, so that nothing is found.
 */
export class GpuMemory {
  readonly #command: string;
  readonly #now: () => number;
  #isMissing = false;
  #askedAt = -Infinity;
  #pid = 0;
  #bytes: number | null = null;

  /** @param command for tests. */
  constructor(command = 'nvidia-smi', now: () => number = () => performance.now()) {
    this.#command = command;
    this.#now = now;
  }

  /** What was told last for that process, at most 30 s ago, in bytes; null where nothing is told. Never rejects. */
  async usedBy(pid: number): Promise<number | null> {
    const isFresh = pid === this.#pid && this.#now() - this.#askedAt < LEAST_INTERVAL_MS;
    if (this.#isMissing || isFresh) return this.#bytes;
    this.#pid = pid;
    this.#askedAt = this.#now();
    this.#bytes = null;
    try {
      const query = ['--query-compute-apps=pid,used_memory', '--format=csv,noheader,nounits'];
      const { stdout } = await promisify(execFile)(this.#command, query, { timeout: TIMEOUT_MS, windowsHide: true });
      this.#bytes = parseComputeApps(stdout, pid);
    } catch {
      // There is no such program, or no GPU that it knows: not asked again.
      this.#isMissing = true;
    }
    return this.#bytes;
  }
}

/** Reads lines of `pid, MiB`; a process has one for each GPU that it uses. null when it is not among them. Pure. */
export function parseComputeApps(csv: string, pid: number): number | null {
  const own = csv.split('\n').flatMap((line) => {
    const [, id, mebibytes] = /^\s*(\d+),\s*(\d+)\s*$/.exec(line) ?? [];
    return Number(id) === pid ? [Number(mebibytes) * MEGABYTE] : [];
  });
  return own.length === 0 ? null : own.reduce((sum, bytes) => sum + bytes, 0);
}
