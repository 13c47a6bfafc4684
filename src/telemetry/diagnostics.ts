import { LlameroError } from '../core/errors.ts';
import type { DebugFile } from './debug-folder.ts';

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

  /** See `writeHeapSnapshotFile`. @throws LlameroError `already_running` too. */
  async heapSnapshot(): Promise<DebugFile> {
    const { folder, availableBytes } = this.#options;
    return await this.#alone('heap snapshot', async () => {
      // Loaded here because hardly any llamero is ever asked for one, and every one would load it before it listens.
      const { writeHeapSnapshotFile } = await import('./heap-snapshot.ts');
      return await writeHeapSnapshotFile(folder, availableBytes);
    });
  }

  /** See `writeCpuProfileFile`. @throws LlameroError `already_running` too. */
  async cpuProfile(seconds: number, signal: AbortSignal): Promise<DebugFile> {
    return await this.#alone('CPU profile', async () => {
      const { writeCpuProfileFile } = await import('./cpu-profile.ts');
      return await writeCpuProfileFile(this.#options.folder, seconds, signal);
    });
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
