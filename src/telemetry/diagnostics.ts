import { LlameroError } from '../core/errors.ts';
import { writeCpuProfileFile } from './cpu-profile.ts';
import type { DebugFile } from './debug-folder.ts';
import { writeHeapSnapshotFile } from './heap-snapshot.ts';

/** Options of {@link Diagnostics}. */
export interface DiagnosticsOptions {
  /** Where the files go; made private when it is first needed. */
  readonly folder: string;
  /** The last lines of the log, oldest first. Default: none are known. */
  readonly recentLog?: () => readonly string[];
  /** The last lines of the engine's log that quote no request, oldest first. Default: none are known. */
  readonly recentEngineLog?: () => readonly string[];
  /** Told of every file that was written. */
  readonly onFile?: (file: DebugFile) => void;
  /** What this process may still take of memory, in bytes. Default: what the system says. */
  readonly availableBytes?: () => number;
}

/** Files about a running llamero: one at a time, whoever asks. */
export class Diagnostics {
  readonly #options: DiagnosticsOptions;
  #running: 'heap snapshot' | 'CPU profile' | null = null;

  constructor(options: DiagnosticsOptions) {
    this.#options = options;
  }

  /** The last lines of the log, oldest first. */
  recentLog(): readonly string[] {
    return this.#options.recentLog?.() ?? [];
  }

  /** The last lines of the engine's log that quote no request, oldest first. */
  recentEngineLog(): readonly string[] {
    return this.#options.recentEngineLog?.() ?? [];
  }

  /** See {@link writeHeapSnapshotFile}. @throws LlameroError `already_running` too. */
  async heapSnapshot(): Promise<DebugFile> {
    const { folder, availableBytes } = this.#options;
    return await this.#alone('heap snapshot', () => writeHeapSnapshotFile(folder, availableBytes));
  }

  /** See {@link writeCpuProfileFile}. @throws LlameroError `already_running` too. */
  async cpuProfile(seconds: number, signal: AbortSignal): Promise<DebugFile> {
    return await this.#alone('CPU profile', () => writeCpuProfileFile(this.#options.folder, seconds, signal));
  }

  async #alone(what: 'heap snapshot' | 'CPU profile', work: () => Promise<DebugFile>): Promise<DebugFile> {
    if (this.#running !== null) {
      throw new LlameroError('already_running', `A ${this.#running} is being made; one file at a time.`);
    }
    this.#running = what;
    try {
      const file = await work();
      this.#options.onFile?.(file);
      return file;
    } finally {
      this.#running = null;
    }
  }
}
