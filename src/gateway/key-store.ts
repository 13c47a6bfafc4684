import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, realpath, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { LlameroError } from '../core/errors.ts';
import {
  type ApiKeyEntry,
  type ApiKeyFile,
  type ApiKeyGrant,
  emptyKeyFile,
  formatKeyFile,
  newApiKey,
  parseKeyFile,
} from './key-file.ts';

/** Changes of the API key file: under a lock, written atomically, readable by its owner alone. */

/**
 * Adds a key and returns it; it is not stored anywhere and cannot be shown again.
 * @throws LlameroError `invalid_options` that names the impossible part of `grant`.
 */
export async function addApiKey(
  file: string,
  name: string,
  grant: ApiKeyGrant = {},
): Promise<{ key: string; entry: ApiKeyEntry }> {
  const made = newApiKey(name, new Date(), grant);
  await updateKeyFile(file, (content) => ({ ...content, keys: [...content.keys, made.entry] }));
  return made;
}

/**
 * Takes a key out of the file; a gateway that reads the file refuses it within seconds.
 * @throws LlameroError `not_found` if there is no key with that id.
 */
export async function revokeApiKey(file: string, id: string): Promise<ApiKeyEntry> {
  let revoked: ApiKeyEntry | undefined;
  await updateKeyFile(file, (content) => {
    revoked = content.keys.find((entry) => entry.id === id);
    if (revoked === undefined) throw new LlameroError('not_found', `There is no key with the id '${id}' in ${file}.`);
    return { ...content, keys: content.keys.filter((entry) => entry.id !== id) };
  });
  if (revoked === undefined) throw new Error('the update ran without its change');
  return revoked;
}

/** The keys in the file, without secrets; none if there is no file. */
export async function listApiKeys(file: string): Promise<readonly ApiKeyEntry[]> {
  return (await readKeyFile(file)).keys;
}

async function updateKeyFile(file: string, change: (content: ApiKeyFile) => ApiKeyFile): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  // A symbolic link stays one: its target is replaced.
  const target = await realpath(file).catch((error: unknown) => {
    if (isMissing(error)) return path.resolve(file);
    throw error;
  });
  // Loaded here because it installs process exit hooks, which nobody wants who only reads keys.
  const { lock } = await import('proper-lockfile');
  const release = await lock(target, { realpath: false, retries: { retries: 50, minTimeout: 20, maxTimeout: 200 } });
  try {
    await writeAtomically(target, formatKeyFile(change(await readKeyFile(target))));
  } finally {
    await release();
  }
}

async function readKeyFile(file: string): Promise<ApiKeyFile> {
  try {
    return parseKeyFile(await readFile(file, 'utf8'));
  } catch (error) {
    if (isMissing(error)) return emptyKeyFile();
    throw error;
  }
}

async function writeAtomically(file: string, text: string): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
