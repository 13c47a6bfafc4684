import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

/** A process group that a build runs in, by the pid of its leader and the time that one started. */
interface BuildProcess {
  pid: number;
  startTime: string;
}

const POLL_MS = 100;
const KILL_AFTER_MS = 5000;
const GIVE_UP_AFTER_MS = 60_000;

/**
 * Notes which process group builds, so that a later run can end it: when llamero is killed by SIGKILL its compilers go
 * on for a while, and two builds in one directory spoil each other.
 */
export async function recordBuildProcess(file: string, pid: number): Promise<void> {
  const startTime = await startTimeOf(pid);
  if (startTime !== null) await writeFile(file, JSON.stringify({ pid, startTime } satisfies BuildProcess));
}

/**
 * Ends what is left of a recorded build and waits until it is gone, up to a minute. The leader is known by pid and
 * start time; if it is gone already its compilers end by themselves as their make is gone, and are only waited for.
 */
export async function endInterruptedBuild(file: string, signal?: AbortSignal): Promise<void> {
  const recorded = await readRecord(file);
  if (recorded !== null && process.platform !== 'win32') {
    const isOurs = (await startTimeOf(recorded.pid)) === recorded.startTime;
    const startedAt = Date.now();
    if (isOurs) signalGroup(recorded.pid, 'SIGTERM');
    while (signalGroup(recorded.pid, 0) && Date.now() - startedAt < GIVE_UP_AFTER_MS) {
      if (isOurs && Date.now() - startedAt > KILL_AFTER_MS) signalGroup(recorded.pid, 'SIGKILL');
      await delay(POLL_MS, undefined, { signal });
    }
  }
  await rm(file, { force: true });
}

/** Sends a signal to a process group; false when there is none, or it is not ours. */
function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch {
    // ESRCH: gone. EPERM: the number belongs to someone else now.
    return false;
  }
}

/** When a process started, in whatever form the system gives; null when it is not running. */
async function startTimeOf(pid: number): Promise<string | null> {
  try {
    if (process.platform === 'linux') {
      const text = await readFile(`/proc/${pid}/stat`, 'utf8');
      // Field 22; the second field is a name in parentheses that may hold spaces.
      return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null;
    }
    const { stdout } = await promisify(execFile)('ps', ['-o', 'lstart=', '-p', String(pid)]);
    return stdout.trim() || null;
  } catch {
    // No such process.
    return null;
  }
}

async function readRecord(file: string): Promise<BuildProcess | null> {
  try {
    const { pid, startTime } = JSON.parse(await readFile(file, 'utf8')) as Partial<BuildProcess>;
    return typeof pid === 'number' && pid > 1 && typeof startTime === 'string' ? { pid, startTime } : null;
  } catch {
    // No record, or one cut short by the same kill: nothing that could be ended safely.
    return null;
  }
}
