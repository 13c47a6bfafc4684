import { timingSafeEqual } from 'node:crypto';
import { type FSWatcher, watch } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { LlameroError, toLlameroError } from '../core/errors.ts';
import { type ApiKeyEntry, type ApiKeyFile, hashApiKey, parseKeyFile } from './key-file.ts';

/** What happened when the key file was read again. */
export type KeyFileReport = { readonly keys: number } | { readonly error: LlameroError; readonly keysKept: number };

/** Options of a {@link KeyRing}. */
export interface KeyRingOptions {
  /** Told of every reload, good or bad. */
  onReload?: (report: KeyFileReport) => void;
  /** How often the file is looked at where no change is notified, in ms. Default 5000. */
  pollIntervalMs?: number;
}

interface HeldKey {
  readonly entry: ApiKeyEntry;
  readonly digest: Buffer;
}

/** File systems that announce nothing (network mounts, swapped symbolic links of mounted secrets) are covered by polling. */
const DEFAULT_POLL_INTERVAL_MS = 5_000;
/** An editor writes in several steps; the file is read once they are over. */
const SETTLE_MS = 50;

/**
 * The keys that are valid now. Follows its file: a change is noticed by watching the folder (so that a file replaced by
 * renaming is seen as well) and by polling. A file that cannot be read or parsed changes nothing and is reported.
 */
export class KeyRing {
  readonly #file: string;
  readonly #onReload: (report: KeyFileReport) => void;
  #buckets: ReadonlyMap<number, readonly HeldKey[]> = new Map();
  #size = 0;
  #seen = '';
  #watcher: FSWatcher | null = null;
  #poll: NodeJS.Timeout | null = null;
  #settle: NodeJS.Timeout | null = null;
  #reading: Promise<void> | null = null;
  #changedMeanwhile = false;
  #stopped = false;

  private constructor(file: string, options: KeyRingOptions) {
    this.#file = file;
    this.#onReload = options.onReload ?? (() => {});
  }

  /** Reads the file and follows it. @throws LlameroError `invalid_options` if it is missing or broken at the start. */
  static async open(file: string, options: KeyRingOptions = {}): Promise<KeyRing> {
    const ring = new KeyRing(path.resolve(file), options);
    try {
      ring.#seen = await fingerprint(ring.#file);
      ring.#hold(parseKeyFile(await readFile(ring.#file, 'utf8')));
    } catch (error) {
      throw unreadable(error);
    }
    ring.#follow(options.pollIntervalMs ?? DEFAULT_POLL_INTERVAL_MS);
    return ring;
  }

  /** How many keys are valid. */
  get size(): number {
    return this.#size;
  }

  /** The entry of a key, or null. Time does not depend on how much of a wrong key is right. */
  verify(key: string): ApiKeyEntry | null {
    const digest = hashApiKey(key);
    // Choosing by one byte of the digest of 256 random bits tells an observer nothing about the key.
    const bucket = this.#buckets.get(digest[0] ?? 0);
    if (bucket === undefined) return null;
    let found: ApiKeyEntry | null = null;
    for (const held of bucket) {
      if (timingSafeEqual(held.digest, digest)) found = held.entry;
    }
    return found;
  }

  /** Ends the watching. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#watcher?.close();
    this.#watcher = null;
    if (this.#poll !== null) clearInterval(this.#poll);
    if (this.#settle !== null) clearTimeout(this.#settle);
    await this.#reading;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #hold(file: ApiKeyFile): void {
    const buckets = new Map<number, HeldKey[]>();
    for (const entry of file.keys) {
      const digest = Buffer.from(entry.hash, 'hex');
      const bucket = buckets.get(digest[0] ?? 0);
      if (bucket === undefined) buckets.set(digest[0] ?? 0, [{ entry, digest }]);
      else bucket.push({ entry, digest });
    }
    this.#buckets = buckets;
    this.#size = file.keys.length;
  }

  #follow(pollIntervalMs: number): void {
    const name = path.basename(this.#file);
    try {
      this.#watcher = watch(path.dirname(this.#file), { persistent: false }, (_event, changed) => {
        if (changed === null || changed === name) this.#soon();
      });
      // A watcher that fails leaves the polling, which is enough.
      this.#watcher.on('error', () => this.#watcher?.close());
    } catch {
      // No watching on this file system or no watches left: the polling is enough.
      this.#watcher = null;
    }
    this.#poll = setInterval(() => this.#check(), pollIntervalMs).unref();
  }

  #soon(): void {
    if (this.#stopped) return;
    if (this.#settle !== null) clearTimeout(this.#settle);
    this.#settle = setTimeout(() => this.#check(), SETTLE_MS).unref();
  }

  #check(): void {
    if (this.#stopped) return;
    if (this.#reading !== null) {
      this.#changedMeanwhile = true;
      return;
    }
    this.#reading = this.#reload().finally(() => {
      this.#reading = null;
      if (this.#changedMeanwhile) {
        this.#changedMeanwhile = false;
        this.#check();
      }
    });
  }

  async #reload(): Promise<void> {
    let report: KeyFileReport;
    try {
      const seen = await fingerprint(this.#file);
      if (seen === this.#seen) return;
      // Remembered before reading: what is written meanwhile has another fingerprint and is read next time.
      this.#seen = seen;
      this.#hold(parseKeyFile(await readFile(this.#file, 'utf8')));
      report = { keys: this.#size };
    } catch (error) {
      const problem = unreadable(error);
      // A file that stays broken is reported once.
      if (isMissing(error) && this.#seen === 'missing') return;
      if (isMissing(error)) this.#seen = 'missing';
      report = { error: problem, keysKept: this.#size };
    }
    if (!this.#stopped) this.#onReload(report);
  }
}

async function fingerprint(file: string): Promise<string> {
  const { mtimeMs, size, ino } = await stat(file);
  return `${mtimeMs} ${size} ${ino}`;
}

function unreadable(error: unknown): LlameroError {
  if (error instanceof LlameroError) return error;
  if (isMissing(error)) {
    return new LlameroError('invalid_options', 'The API key file does not exist.', {
      param: 'gateway.apiKeyFile',
      cause: error,
    });
  }
  if (error instanceof Error && 'code' in error) {
    return new LlameroError('invalid_options', `The API key file cannot be read (${String(error.code)}).`, {
      param: 'gateway.apiKeyFile',
      cause: error,
    });
  }
  return toLlameroError(error);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
