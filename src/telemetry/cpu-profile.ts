import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { type DebugFile, writeDebugFile } from './debug-folder.ts';

/** Shortest and longest profile, in seconds. */
export const CPU_PROFILE_SECONDS = { min: 1, max: 60, default: 10 } as const;
/** Between two samples, in µs: V8's own default, which costs a busy process about 5 %. */
const SAMPLING_INTERVAL_US = 1000;

/**
 * Samples for `seconds` where this process spends its time, and writes a file that the Performance panel of Chrome and
 * https://www.speedscope.app show. It names functions and files, no data.
 *
 * @throws what `signal` was aborted with; LlameroError `internal_error` when the file cannot be written.
 */
export async function writeCpuProfileFile(folder: string, seconds: number, signal: AbortSignal): Promise<DebugFile> {
  return await writeDebugFile(folder, 'cpuprofile', async (file) => {
    const profile = await sampleCpu(seconds * 1000, signal);
    await writeFile(file, profile, { mode: 0o600, flag: 'wx' });
  });
}

async function sampleCpu(durationMs: number, signal: AbortSignal): Promise<string> {
  const { Session } = await import('node:inspector/promises');
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: SAMPLING_INTERVAL_US });
    await session.post('Profiler.start');
    await sleep(durationMs, undefined, { signal }).catch((error: unknown) => {
      signal.throwIfAborted();
      throw error;
    });
    const { profile } = await session.post('Profiler.stop');
    return JSON.stringify(profile);
  } finally {
    // Ends the sampling as well.
    session.disconnect();
  }
}
