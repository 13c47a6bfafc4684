import { readFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { readCgroupMemory } from '../cgroup-memory.ts';
import { LlameroError } from '../errors.ts';
import type { LlameroEmitter } from '../events.ts';
import { collectGarbage } from './collect-garbage.ts';
import {
  decideMemory,
  ENOUGH_MEMORY,
  type MemoryPressure,
  type MemoryState,
  parsePressure,
  worse,
} from './decide-memory.ts';

const INTERVAL_MS = 1000;
const RETRY_AFTER_MS = 5000;
/** Between attempts to free memory while requests are refused; each stops the process for some hundred ms. */
const COLLECT_INTERVAL_MS = 30_000;

/** Where the guard looks; each can be replaced for tests. */
export interface MemorySources {
  /** Resident memory of llamero, in bytes. */
  readonly usedBytes?: () => number;
  /** Root of the file system in which `/proc/pressure/memory` and the control group are found. */
  readonly root?: string;
  /** Frees what is garbage already. */
  readonly collect?: () => void;
}

export interface MemoryGuardOptions {
  /** For llamero's own process (`memoryLimit` of the configuration). A lower limit of the control group takes its place. */
  readonly memoryLimitBytes: number;
  readonly events: LlameroEmitter;
  /** The machine is short of memory (`true`): send nothing new to an engine; or no more. */
  readonly onHold: (held: boolean) => void;
  /** Default 1000. */
  readonly intervalMs?: number;
  readonly sources?: MemorySources;
}

/**
 * Watches memory for admission: of llamero itself, whose new requests are refused near `memoryLimit`, and of the machine,
 * on whose shortage nothing new is sent to an engine, before the OOM killer acts. Owns one timer.
 */
export class MemoryGuard {
  readonly #options: MemoryGuardOptions;
  readonly #sources: Required<MemorySources>;
  #limitBytes: number;
  #groupPressureFile: string | null = null;
  #prepared: Promise<void> | null = null;
  #state: MemoryState = ENOUGH_MEMORY;
  #timer: NodeJS.Timeout | undefined;
  #sampling = false;
  #collectedAt = -Infinity;

  constructor(options: MemoryGuardOptions) {
    this.#options = options;
    this.#sources = {
      usedBytes: options.sources?.usedBytes ?? (() => process.memoryUsage.rss()),
      root: options.sources?.root ?? '/',
      collect: options.sources?.collect ?? collectGarbage,
    };
    this.#limitBytes = options.memoryLimitBytes;
  }

  /** What llamero's own memory is measured against; a lower limit of the control group is known soon after {@link start}. */
  get limitBytes(): number {
    return this.#limitBytes;
  }

  /** Whether nothing new may be sent to an engine now. */
  get held(): boolean {
    return this.#state.held;
  }

  /** Idempotent. The timer does not keep the process alive. */
  start(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => void this.#sample(), this.#options.intervalMs ?? INTERVAL_MS).unref();
    void this.#sample();
  }

  /** Idempotent. What was decided last holds no more. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#state = ENOUGH_MEMORY;
  }

  /** The error for a new request, or null when it may come in. Cheap: looks at what the latest sample decided. */
  refusal(): LlameroError | null {
    if (!this.#state.refusing) return null;
    return new LlameroError('memory_pressure', 'llamero is near its memory limit and takes no new requests.', {
      retryAfterMs: RETRY_AFTER_MS,
    });
  }

  async #sample(): Promise<void> {
    // On a machine that is short of memory a sample may take longer than the interval.
    if (this.#sampling) return;
    this.#sampling = true;
    await (this.#prepared ??= this.#prepare());
    const pressure = await this.#pressure();
    this.#sampling = false;
    if (this.#timer === undefined) return;
    const before = this.#state;
    const usedBytes = this.#sources.usedBytes();
    this.#state = decideMemory(before, { usedBytes, pressure }, this.#limitBytes);
    if (before.refusing !== this.#state.refusing) this.#announceRefusing(usedBytes);
    if (before.held !== this.#state.held) this.#announceHeld(pressure);
    if (this.#state.refusing) this.#free();
  }

  async #prepare(): Promise<void> {
    const { limitBytes, pressureFile } = await readCgroupMemory(this.#sources.root);
    this.#limitBytes = Math.min(this.#limitBytes, limitBytes ?? Infinity);
    this.#groupPressureFile = pressureFile;
  }

  async #pressure(): Promise<MemoryPressure | null> {
    const machine = await pressureIn(`${this.#sources.root}/proc/pressure/memory`);
    return worse(machine, this.#groupPressureFile === null ? null : await pressureIn(this.#groupPressureFile));
  }

  /** Much of what counts may be garbage that nothing has asked V8 to collect; with requests refused, nothing would. */
  #free(): void {
    if (performance.now() - this.#collectedAt < COLLECT_INTERVAL_MS) return;
    this.#collectedAt = performance.now();
    this.#sources.collect();
  }

  #announceRefusing(usedBytes: number): void {
    const { refusing } = this.#state;
    this.#options.events.publish('memory', {
      of: 'llamero',
      ok: !refusing,
      usedBytes,
      limitBytes: this.#limitBytes,
      message: refusing
        ? 'llamero is near its memory limit (memoryLimit) and refuses new requests.'
        : 'llamero takes new requests again.',
    });
  }

  #announceHeld(pressure: MemoryPressure | null): void {
    const { held } = this.#state;
    const limitBytes = totalmem();
    this.#options.events.publish('memory', {
      of: 'machine',
      ok: !held,
      usedBytes: limitBytes - process.availableMemory(),
      limitBytes,
      message: held
        ? `The machine is short of memory (tasks waited for it ${pressure?.some ?? 0} % of the last 10 s, all of them ${pressure?.full ?? 0} %): requests wait.`
        : 'The machine has memory again: requests go on.',
    });
    this.#options.onHold(held);
  }
}

async function pressureIn(file: string): Promise<MemoryPressure | null> {
  try {
    return parsePressure(await readFile(file, 'utf8'));
  } catch {
    // Not Linux, a kernel without PSI, or one that has it switched off (`EOPNOTSUPP`): nothing is known.
    return null;
  }
}
