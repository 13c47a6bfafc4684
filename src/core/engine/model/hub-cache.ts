import { link, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';

/**
 * The folder of one repository in the Hugging Face cache, in the layout that all tools of the field share:
 * `blobs/<checksum>`, `snapshots/<commit>/<path>` (links to blobs), `refs/main` (a commit).
 * Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
 */
export function hubRepositoryDirectory(repository: string, env: NodeJS.ProcessEnv): string {
  return join(hubCacheDirectory(env), `models--${repository.replaceAll('/', '--')}`);
}

/** The Hugging Face cache: `HF_HUB_CACHE`, `HF_HOME/hub`, `XDG_CACHE_HOME/huggingface/hub`, `~/.cache/huggingface/hub`. */
export function hubCacheDirectory(env: NodeJS.ProcessEnv): string {
  const chosen = env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE;
  if (chosen) return resolve(chosen);
  if (env.HF_HOME) return resolve(env.HF_HOME, 'hub');
  const home = env.HOME || env.USERPROFILE || homedir();
  return resolve(env.XDG_CACHE_HOME || join(home, '.cache'), 'huggingface', 'hub');
}

/** One revision of a repository in the cache: its folder and the files that are completely there. */
export interface CachedSnapshot {
  readonly directory: string;
  /** Paths in the repository, with `/`. */
  readonly files: readonly string[];
}

/** What the cache holds of a repository: the revision of `main` first, then the others. Needs no network. */
export async function cachedSnapshots(repositoryDirectory: string): Promise<CachedSnapshot[]> {
  const main = await readFile(join(repositoryDirectory, 'refs', 'main'), 'utf8').then(
    (text) => text.trim(),
    () => '',
  );
  const commits = await namesIn(join(repositoryDirectory, 'snapshots'));
  const ordered = [
    ...commits.filter((commit) => commit === main),
    ...commits.filter((commit) => commit !== main).sort(),
  ];
  const snapshots: CachedSnapshot[] = [];
  for (const commit of ordered) {
    const directory = join(repositoryDirectory, 'snapshots', commit);
    snapshots.push({ directory, files: await completeFiles(directory) });
  }
  return snapshots;
}

/** Where the bytes of a file lie; `oid` is its SHA-256 (large files) or its git blob id. */
export function blobPath(repositoryDirectory: string, oid: string): string {
  return join(repositoryDirectory, 'blobs', oid);
}

/** Where a file of a revision is found under its own name. */
export function snapshotPath(repositoryDirectory: string, commit: string, path: string): string {
  return join(repositoryDirectory, 'snapshots', commit, ...path.split('/'));
}

/**
 * Shows a blob under its name in a snapshot: a relative symbolic link; a hard link or the blob itself where the platform
 * allows no symbolic links (Windows without developer mode).
 */
export async function linkBlob(blob: string, pointer: string): Promise<void> {
  await mkdir(dirname(pointer), { recursive: true });
  // A link of an earlier, removed blob may be in the way.
  await rm(pointer, { force: true });
  try {
    await symlink(relative(dirname(pointer), blob), pointer, 'file');
  } catch (error) {
    // Another process was faster: it links to the same bytes.
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
    await link(blob, pointer).catch(() => rename(blob, pointer));
  }
}

/** Notes which revision `main` is, for later runs without network. */
export async function writeMainRef(repositoryDirectory: string, commit: string): Promise<void> {
  const refs = join(repositoryDirectory, 'refs');
  await mkdir(refs, { recursive: true });
  const temporary = join(refs, `.main.${process.pid}`);
  await writeFile(temporary, commit);
  await rename(temporary, join(refs, 'main'));
}

async function completeFiles(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  const files: string[] = [];
  for (const entry of entries) {
    if (entry.isDirectory()) continue;
    const full = join(entry.parentPath, entry.name);
    // A link whose blob was removed does not count.
    const isFile = await stat(full).then(
      (target) => target.isFile(),
      () => false,
    );
    if (isFile) files.push(relative(directory, full).replaceAll('\\', '/'));
  }
  return files.sort();
}

async function namesIn(directory: string): Promise<string[]> {
  return await readdir(directory).catch(() => []);
}
