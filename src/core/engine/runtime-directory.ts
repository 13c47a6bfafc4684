import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { LlameroError } from '../errors.ts';
import { processStartTime } from './process-identity.ts';

/**
 * Private directories of running engines: `<root>/engine-XXXXXX/`, mode 0700, each with the engine's socket and an
 * `owner.json` that says which llamero started which process. What a dead llamero left behind is found there.
 */

const OWNER_FILE = 'owner.json';
/** `sun_path` of a UNIX socket address holds 104 bytes on macOS and 108 on Linux, the closing NUL included. */
const MAX_SOCKET_PATH_BYTES = 103;
/** Tries to make the root while others remove it. */
const ROOT_ATTEMPTS = 20;

interface OwnerRecord {
  readonly ownerPid: number;
  readonly ownerStart: string | null;
  readonly enginePid: number;
  readonly engineStart: string | null;
}

/** One engine's private directory. */
export interface RuntimeDirectory {
  readonly path: string;
  /** Where the engine listens when it uses a UNIX socket. */
  readonly socketPath: string;
  /** Where the engine may save what its slots hold; as private as the rest. */
  readonly slotsPath: string;
  /** Notes the process, so that a later llamero can find it should this one die. */
  record(enginePid: number): Promise<void>;
  /** Removes the directory and, when it was the last one, the root. Idempotent. */
  remove(): Promise<void>;
}

/**
 * Creates a private directory under `$XDG_RUNTIME_DIR/llamero` or `<tmp>/llamero-<user id>`.
 * @throws LlameroError `engine_unavailable` when the root belongs to somebody else or cannot be made.
 */
export async function createRuntimeDirectory(env: NodeJS.ProcessEnv): Promise<RuntimeDirectory> {
  const root = await usableRoot(env);
  const directory = await makeInside(root);
  const slotsPath = path.join(directory, 'slots');
  await mkdir(slotsPath, { mode: 0o700 });
  return {
    path: directory,
    socketPath: path.join(directory, 'engine.sock'),
    slotsPath,
    record: async (enginePid) => {
      const [ownerStart, engineStart] = await Promise.all([processStartTime(process.pid), processStartTime(enginePid)]);
      const record: OwnerRecord = { ownerPid: process.pid, ownerStart, enginePid, engineStart };
      await writeFile(path.join(directory, OWNER_FILE), JSON.stringify(record), { mode: 0o600 });
    },
    remove: async () => {
      await rm(directory, { recursive: true, force: true });
      await removeIfEmpty(root);
    },
  };
}

/**
 * Ends engines whose llamero is gone, and removes their directories. A process is touched only when both its pid and its
 * start time are those that were recorded.
 * @returns the pids that were killed.
 */
export async function endLeftovers(env: NodeJS.ProcessEnv): Promise<number[]> {
  const killed: number[] = [];
  for (const root of candidateRoots(env)) {
    for (const name of await entriesOf(root)) {
      const directory = path.join(root, name);
      const record = await readRecord(directory);
      // Without a record the engine is just being started, or was never: nothing to end.
      if (record === null || (await lives(record.ownerPid, record.ownerStart))) continue;
      if (await lives(record.enginePid, record.engineStart)) {
        killGroup(record.enginePid);
        killed.push(record.enginePid);
      }
      await rm(directory, { recursive: true, force: true });
    }
  }
  return killed;
}

function candidateRoots(env: NodeJS.ProcessEnv): string[] {
  const user = process.getuid?.() ?? os.userInfo().username;
  const roots = [path.join(env['TMPDIR'] ?? os.tmpdir(), `llamero-${user}`), path.join('/tmp', `llamero-${user}`)];
  if (env['XDG_RUNTIME_DIR']) roots.unshift(path.join(env['XDG_RUNTIME_DIR'], 'llamero'));
  // A long TMPDIR, as macOS has it, may leave too little room for the name of a socket.
  const fitting = roots.filter(
    (root) => Buffer.byteLength(root) + '/engine-XXXXXX/engine.sock'.length <= MAX_SOCKET_PATH_BYTES,
  );
  return [...new Set(process.platform === 'win32' ? [path.join(os.tmpdir(), 'llamero')] : fitting)];
}

async function usableRoot(env: NodeJS.ProcessEnv): Promise<string> {
  const problems: string[] = [];
  for (const root of candidateRoots(env)) {
    const problem = await prepareRoot(root);
    if (problem === null) return root;
    problems.push(problem);
  }
  throw new LlameroError(
    'engine_unavailable',
    `No private directory for the engine's socket could be made: ${problems.join('; ')}.`,
  );
}

/** Makes the root and checks that nobody else can put anything into it. @returns what is wrong, or null. */
async function prepareRoot(root: string): Promise<string | null> {
  for (let attempt = 1; ; attempt++) {
    try {
      await mkdir(root, { recursive: true, mode: 0o700 });
      return await problemOf(root);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Another llamero, whose last engine ended, may remove the empty root between our steps.
      if (code !== 'ENOENT' || attempt === ROOT_ATTEMPTS) return code ?? String(error);
    }
  }
}

async function problemOf(root: string): Promise<string | null> {
  const facts = await lstat(root);
  if (!facts.isDirectory()) return 'its place is taken by a file';
  const user = process.getuid?.();
  if (user === undefined) return null;
  if (facts.uid !== user) return 'its place belongs to another user';
  if ((facts.mode & 0o077) !== 0) await chmod(root, 0o700);
  return null;
}

async function makeInside(root: string): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    try {
      await mkdir(root, { recursive: true, mode: 0o700 });
      return await mkdtemp(path.join(root, 'engine-'));
    } catch (error) {
      // As above: the root may go between our steps.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempt === ROOT_ATTEMPTS) throw error;
    }
  }
}

async function removeIfEmpty(root: string): Promise<void> {
  try {
    await rmdir(root);
  } catch {
    // Not empty, or gone already: both are as they should be.
  }
}

async function entriesOf(root: string): Promise<string[]> {
  try {
    return await readdir(root);
  } catch {
    // No root: nothing was left.
    return [];
  }
}

async function readRecord(directory: string): Promise<OwnerRecord | null> {
  try {
    return JSON.parse(await readFile(path.join(directory, OWNER_FILE), 'utf8')) as OwnerRecord;
  } catch {
    // Not written yet, or cut by a crash: then there is nothing to go by.
    return null;
  }
}

async function lives(pid: number, start: string | null): Promise<boolean> {
  if (start === null) return false;
  return (await processStartTime(pid)) === start;
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended between the check and the kill.
  }
}
