import { readFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import path from 'node:path';

/** What the control group of this process says of memory; its limits hold for llamero and its engines together. */
export interface CgroupMemory {
  /** The lowest limit of the group and of those above it; null when there is none below the machine's memory. */
  readonly limitBytes: number | null;
  /** `memory.pressure` of the group (cgroup v2); null where there is none. */
  readonly pressureFile: string | null;
}

interface Membership {
  readonly version: 1 | 2;
  /** Of the group, below the mount point. */
  readonly path: string;
}

/** Where the hierarchies are mounted: v2 alone, or v2 beside v1. */
const MOUNTS = { 1: ['sys/fs/cgroup/memory'], 2: ['sys/fs/cgroup', 'sys/fs/cgroup/unified'] } as const;
const LIMIT_FILES = { 1: 'memory.limit_in_bytes', 2: 'memory.max' } as const;

/**
 * Reads the memory side of this process's control group, v1 or v2, up to the root: each level may set a limit (cgroups(7)).
 * @param root of the file system; for tests.
 */
export async function readCgroupMemory(root = '/'): Promise<CgroupMemory> {
  const limits: number[] = [];
  let pressureFile: string | null = null;
  for (const { version, path: group } of memberships(await textOf(path.join(root, 'proc/self/cgroup')))) {
    for (const mount of MOUNTS[version]) {
      for (const level of levels(group)) {
        const folder = path.join(root, mount, level);
        const limit = Number((await textOf(path.join(folder, LIMIT_FILES[version]))).trim() || Number.NaN);
        // "max" of v2 is no number, and what v1 says instead is larger than any machine.
        if (limit > 0 && limit < totalmem()) limits.push(limit);
        if (version === 2) pressureFile ??= await existing(path.join(folder, 'memory.pressure'));
      }
    }
  }
  return { limitBytes: limits.length === 0 ? null : Math.min(...limits), pressureFile };
}

/** The groups of `/proc/self/cgroup` that concern memory. Pure. */
function memberships(text: string): Membership[] {
  return text.split('\n').flatMap((line): Membership[] => {
    const [, controllers, group] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined || group === undefined) return [];
    if (controllers === '') return [{ version: 2, path: group }];
    return controllers.split(',').includes('memory') ? [{ version: 1, path: group }] : [];
  });
}

/** A group and all above it, down to the root `/`. */
function levels(group: string): string[] {
  const all = [group];
  for (let level = group; level !== path.posix.dirname(level);) {
    level = path.posix.dirname(level);
    all.push(level);
  }
  return all;
}

async function existing(file: string): Promise<string | null> {
  return (await textOf(file)) === '' ? null : file;
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch {
    // Not Linux, another version of cgroups, or a level that a container does not show.
    return '';
  }
}
