import { readFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { readCgroupMemory } from '../cgroup-memory.ts';
import type { EngineConfig } from '../config.ts';

const MEGABYTE = 1024 * 1024;
/** Of the memory of machine or control group, for `memoryLimit: auto`. */
const AUTO_SHARE = 0.9;

/**
 * Anonymous memory of a process, swapped out or not: what it has allocated itself. The model is a mapped file that the system
 * can drop at any time, so it does not count.
 * @returns bytes; null when there is no such process, and on other systems than Linux, which only tell it mixed with mapped files.
 */
export async function anonymousMemory(pid: number): Promise<number | null> {
  if (process.platform !== 'linux') return null;
  try {
    return parseAnonymousMemory(await readFile(`/proc/${pid}/status`, 'utf8'));
  } catch {
    // The process just ended.
    return null;
  }
}

/** `RssAnon` + `VmSwap` of a `/proc/PID/status`, in bytes; null when they are not in it, as for a dead process. Pure. */
export function parseAnonymousMemory(status: string): number | null {
  const anonymous = /^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1];
  const swapped = /^VmSwap:\s+(\d+) kB$/m.exec(status)?.[1];
  return anonymous === undefined ? null : (Number(anonymous) + Number(swapped ?? 0)) * 1024;
}

/**
 * The limit of one engine, in bytes.
 * @param memoryLimit of the configuration: MB, or `auto` for 90 % of what the machine or its control group has.
 * @param root of the file system; for tests.
 */
export async function engineMemoryLimit(memoryLimit: EngineConfig['memoryLimit'], root?: string): Promise<number> {
  if (memoryLimit !== 'auto') return memoryLimit * MEGABYTE;
  const { limitBytes } = await readCgroupMemory(root);
  return AUTO_SHARE * Math.min(totalmem(), limitBytes ?? Infinity);
}
