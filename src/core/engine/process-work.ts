import { readFile } from 'node:fs/promises';

/** Linux counts CPU time in ticks of 10 ms (`USER_HZ`). */
export const CPU_TICK_MS = 10;

/** What the system says of a process and its work so far. */
export interface ProcessWork {
  /** State as in proc(5): `R` running, `S` sleeping, `D` waiting for a disk, `T` stopped, `t` traced, `Z` dead but not collected. */
  readonly state: string;
  /** CPU time of all its threads. */
  readonly cpuMs: number;
  /** Page faults that had to be served from a disk. */
  readonly majorFaults: number;
}

/** @returns null where the system does not tell (not Linux), and when there is no such process. */
export async function processWork(pid: number): Promise<ProcessWork | null> {
  if (process.platform !== 'linux') return null;
  try {
    return parseProcessWork(await readFile(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    // The process just ended; its exit tells the rest.
    return null;
  }
}

/** Reads `/proc/PID/stat`. The command name in it is in parentheses and may hold anything. */
export function parseProcessWork(stat: string): ProcessWork {
  // proc(5): state is field 3, majflt 12, utime 14, stime 15; the first of `fields` is field 3.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return {
    state: fields[0] ?? '',
    cpuMs: (Number(fields[11]) + Number(fields[12])) * CPU_TICK_MS,
    majorFaults: Number(fields[9]),
  };
}
