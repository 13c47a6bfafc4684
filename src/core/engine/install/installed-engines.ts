import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { currentCpu, runsOn, type Cpu } from './cpu.ts';
import type { EngineBinary } from './engine-binary.ts';

/** The marker of a complete installation, in its directory. Written before the directory gets its final name. */
export const INSTALLED_FILE = 'installed.json';

/** Part of the name of an installation that was moved aside for a newer one. */
const REPLACED = '.replaced-';
/** What Windows answers when a file of a running program is to be removed. */
const IN_USE = new Set(['EBUSY', 'EPERM', 'EACCES', 'ENOTEMPTY']);

const installedSchema = z.object({
  /** llama.cpp tag that was asked for, such as `v0.5.0`. */
  tag: z.string(),
  version: z.string(),
  build: z.number().nullable(),
  commit: z.string().nullable(),
  source: z.enum(['release', 'source']),
  /** Archive names, or the npm package, that it was made from. */
  from: z.array(z.string()),
  /** `sha256:…` of each archive, or the `sha512-…` integrity of the package. */
  checksums: z.array(z.string()),
  platform: z.string(),
  arch: z.string(),
  /** The processor of a native build; null for an archive, which picks its code at run time. */
  cpu: z.object({ arch: z.string(), model: z.string(), instructionSets: z.array(z.string()) }).nullable(),
  /** Path of the program inside the directory. */
  executable: z.string(),
  executableBytes: z.number(),
  installedAt: z.iso.datetime(),
});

/** What is known about an installed engine. */
export type InstalledEngine = z.output<typeof installedSchema>;

/** An installation in the cache. `usable` is false when it belongs to another platform or processor, or is damaged. */
export interface CachedEngine {
  directory: string;
  installed: InstalledEngine;
  usable: boolean;
}

/** Every complete installation in the engine cache, newest first. Directories without a valid marker do not count. */
export async function readInstalledEngines(cache: string): Promise<CachedEngine[]> {
  const cpu = await currentCpu();
  const names = await readDirectory(cache);
  const found = await Promise.all(names.map((name) => readInstallation(path.join(cache, name), cpu)));
  return found
    .filter((entry) => entry !== null)
    .sort((a, b) => b.installed.installedAt.localeCompare(a.installed.installedAt));
}

/** An installation of the cache as an {@link EngineBinary}. */
export function toEngineBinary({ directory, installed }: CachedEngine): EngineBinary {
  return {
    path: path.join(directory, installed.executable),
    version: installed.version,
    build: installed.build,
    commit: installed.commit,
    origin: 'cache',
    source: installed.source,
  };
}

/**
 * Makes a finished staging directory the installation of that name: the marker is written, then the directory gets its
 * name in one rename. An older installation of that name is moved aside first; running engines keep their files on POSIX.
 */
export async function publishInstallation(
  staging: string,
  directory: string,
  installed: InstalledEngine,
): Promise<CachedEngine> {
  await writeFile(path.join(staging, INSTALLED_FILE), `${JSON.stringify(installed, null, 2)}\n`);
  const aside = `${directory}${REPLACED}${process.pid}`;
  try {
    await rename(directory, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  await rename(staging, directory);
  await removeReplaced(path.dirname(directory));
  return { directory, installed, usable: true };
}

/** Removes installations that were moved aside. Windows keeps one whose program runs; a later installation removes it. */
async function removeReplaced(cache: string): Promise<void> {
  const replaced = (await readDirectory(cache)).filter((name) => name.includes(REPLACED));
  await Promise.all(replaced.map((name) => removeUnlessUsed(path.join(cache, name))));
}

async function removeUnlessUsed(directory: string): Promise<void> {
  try {
    await rm(directory, { recursive: true, force: true });
  } catch (error) {
    if (!IN_USE.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

async function readInstallation(directory: string, cpu: Cpu): Promise<CachedEngine | null> {
  if (path.basename(directory).includes(REPLACED)) return null;
  try {
    const installed = installedSchema.parse(JSON.parse(await readFile(path.join(directory, INSTALLED_FILE), 'utf8')));
    const { size } = await stat(path.join(directory, installed.executable));
    const fits = installed.platform === process.platform && installed.arch === process.arch;
    const runs = installed.cpu === null || runsOn(installed.cpu, cpu);
    return { directory, installed, usable: fits && runs && size === installed.executableBytes };
  } catch {
    // No marker, an unreadable one, or no program: not an installation, and the next one replaces it.
    return null;
  }
}

async function readDirectory(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
