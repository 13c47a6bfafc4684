import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { emptyCounters, type FakeServerCounters } from './settings.ts';

/** Name of the counters file in the state directory. */
export const COUNTERS_FILE = 'counters.json';

const FLUSH_DELAY_MS = 2;

/** The counters of the running double. They live in a file so that a test can read them whatever the process suffers. */
export class CountersFile {
  readonly values: FakeServerCounters;
  readonly #path: string;
  #timer: NodeJS.Timeout | null = null;

  /** Takes over the number of starts from the file, and counts this one. */
  constructor(directory: string) {
    this.#path = join(directory, COUNTERS_FILE);
    this.values = { ...emptyCounters(), starts: readCounters(directory).starts + 1 };
    this.flush();
  }

  /** Changes the counters; they reach the file within a few milliseconds. */
  change(apply: (values: FakeServerCounters) => void): void {
    apply(this.values);
    this.#timer ??= setTimeout(() => this.flush(), FLUSH_DELAY_MS);
  }

  /** Writes now, because the process is about to end. */
  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const temporary = `${this.#path}.${process.pid}`;
    try {
      writeFileSync(temporary, JSON.stringify(this.values));
      renameSync(temporary, this.#path);
    } catch (error) {
      // The directory goes away when the test ends; a double that outlives it by a moment has nobody to tell.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}

/** The counters in a state directory; zeros before the first start. */
export function readCounters(directory: string): FakeServerCounters {
  try {
    return JSON.parse(readFileSync(join(directory, COUNTERS_FILE), 'utf8')) as FakeServerCounters;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return emptyCounters();
    throw error;
  }
}
