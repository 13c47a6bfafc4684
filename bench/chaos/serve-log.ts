import type { Readable } from 'node:stream';
import { createInterface } from 'node:readline';
import path from 'node:path';

/** One line of llamero's log, as far as this reads it. */
interface Line {
  readonly msg?: string;
  readonly url?: string;
  readonly id?: string;
  readonly generation?: number;
  readonly args?: readonly string[];
  readonly usage?: LoggedUsage | null;
  readonly code?: string;
}

/** Tokens of one request, as llamero accounts them. */
export interface LoggedUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
}

/** What the log tells of one engine process. Times are of `performance.now()`. */
export interface LoggedEngine {
  readonly generation: number;
  socketPath: string | null;
  readyAt: number | null;
  /** When llamero said that it hangs, or was lost. */
  lostAt: number | null;
}

/** What the log tells of one request in the pipeline. */
export interface LoggedRequest {
  begun: number;
  ended: number;
  usage: LoggedUsage | null;
}

const TAIL_LINES = 40;
const ENDS = new Set(['response', 'request failed', 'request cancelled']);

/** Follows the log of `llamero serve` at level debug: what became of each request and each engine. */
export class ServeLog {
  readonly requests = new Map<string, LoggedRequest>();
  readonly engines: LoggedEngine[] = [];
  /** The latest lines that are not about single requests, for a report of a failure. */
  readonly tail: string[] = [];
  /** Base address; rejects when the log ends before. */
  readonly url: Promise<string>;
  readonly #waiters = new Set<() => void>();

  constructor(stream: Readable) {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    this.url = promise;
    const lines = createInterface({ input: stream });
    lines.on('line', (text) => {
      const line: Line = text.startsWith('{') ? (JSON.parse(text) as Line) : { msg: text };
      this.#take(line, text);
      if (line.msg === 'serving' && line.url !== undefined) resolve(line.url);
    });
    lines.on('close', () => reject(new Error(`llamero serve ended:\n${this.tail.join('\n')}`)));
  }

  /** The latest engine. @throws Error when the log has not told where it listens. */
  present(): LoggedEngine & { readonly socketPath: string } {
    const engine = this.engines.at(-1);
    if (engine?.socketPath == null) throw new Error('the log does not tell where the engine listens');
    return { ...engine, socketPath: engine.socketPath };
  }

  /** Resolves when an engine later than that generation is ready; null when `limitMs` passed before. */
  async readyAfter(generation: number, limitMs: number): Promise<LoggedEngine | null> {
    const isReady = (engine: LoggedEngine) => engine.generation > generation && engine.readyAt !== null;
    return await this.#until(() => this.engines.find(isReady) ?? null, limitMs);
  }

  /** What the request has cost, when it has ended, which is logged a moment later than its client knows; null: not told. */
  async usageOf(id: string, limitMs: number): Promise<LoggedUsage | null> {
    const ended = await this.#until(() => {
      const request = this.requests.get(id);
      return request !== undefined && request.ended > 0 ? request : null;
    }, limitMs);
    return ended?.usage ?? null;
  }

  #take(line: Line, text: string): void {
    const { msg, id, generation } = line;
    if (msg === 'engine log') return;
    if (id !== undefined && (msg === 'request' || ENDS.has(msg ?? ''))) this.#takeRequest(id, line);
    else {
      this.tail.push(text);
      if (this.tail.length > TAIL_LINES) this.tail.shift();
    }
    if (generation !== undefined) this.#takeEngine(generation, line);
    for (const wake of this.#waiters) wake();
  }

  #takeRequest(id: string, { msg, usage }: Line): void {
    const known = this.requests.get(id) ?? { begun: 0, ended: 0, usage: null };
    if (msg === 'request') known.begun += 1;
    else known.ended += 1;
    known.usage = usage ?? known.usage;
    this.requests.set(id, known);
  }

  #takeEngine(generation: number, { msg, args }: Line): void {
    let engine = this.engines.find((one) => one.generation === generation);
    if (engine === undefined) {
      engine = { generation, socketPath: null, readyAt: null, lostAt: null };
      this.engines.push(engine);
    }
    if (msg === 'engine options') engine.socketPath = args?.[args.indexOf('--host') + 1] ?? null;
    else if (msg === 'engine ready') engine.readyAt = performance.now();
    else if (msg === 'engine hangs' || msg === 'engine lost') engine.lostAt ??= performance.now();
  }

  /** Looks at every line until there is something; null when `limitMs` passed before. */
  async #until<Found>(look: () => Found | null, limitMs: number): Promise<Found | null> {
    const deadline = performance.now() + limitMs;
    for (;;) {
      const found = look();
      const leftMs = deadline - performance.now();
      if (found !== null || leftMs <= 0) return found;
      await this.#change(leftMs);
    }
  }

  #change(limitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        resolve();
      };
      const timer = setTimeout(done, limitMs);
      this.#waiters.add(done);
    });
  }
}

/** The private directory of an engine. */
export function directoryOf(engine: LoggedEngine): string | null {
  return engine.socketPath === null ? null : path.dirname(engine.socketPath);
}
