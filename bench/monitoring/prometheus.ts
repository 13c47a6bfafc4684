import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../real-engine.ts';

/** One series of an answer, with its values in the order of time. */
export interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly values: readonly number[];
}

interface ApiAnswer {
  readonly status: string;
  readonly error?: string;
  readonly data: unknown;
}

interface ApiSeries {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly (readonly [number, string])[];
}

const EXAMPLES = path.resolve(import.meta.dirname, '../../deploy/prometheus');
const READY_MS = 30_000;
const LOOK_MS = 100;
const STOP_MS = 10_000;

/** A real Prometheus with the configuration and the rules of deploy/prometheus, in a folder of its own. */
export class Prometheus {
  readonly #url: string;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(child: ChildProcess, url: string, folder: string) {
    this.#child = child;
    this.#url = url;
    this.#folder = folder;
  }

  /**
   * Starts it and waits until it is ready.
   * @param target `host:port` of the gateway.
   * @param key its API key for Prometheus.
   * @param seconds between two scrapes.
   * @throws Error when there is no `prometheus`, or it does not start.
   */
  static async start(target: string, key: string, seconds: number): Promise<Prometheus> {
    const folder = await mkdtemp(path.join(tmpdir(), 'llamero-prometheus-'));
    const port = await freePort();
    const example = await readFile(path.join(EXAMPLES, 'prometheus.yml'), 'utf8');
    const config = replaced(replaced(example, '127.0.0.1:8080', target), '15s', `${seconds}s`);
    await writeFile(path.join(folder, 'prometheus.yml'), config);
    await writeFile(path.join(folder, 'llamero.key'), `${key}\n`, { mode: 0o600 });
    await copyFile(path.join(EXAMPLES, 'llamero-rules.yml'), path.join(folder, 'llamero-rules.yml'));
    const options = [`--web.listen-address=127.0.0.1:${port}`, '--storage.tsdb.path=data', '--log.level=warn'];
    const child = spawn('prometheus', ['--config.file=prometheus.yml', ...options], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const prometheus = new Prometheus(child, `http://127.0.0.1:${port}`, folder);
    try {
      await prometheus.#untilReady();
      return prometheus;
    } catch (error) {
      await prometheus.stop();
      throw error;
    }
  }

  /** All series of a query, from `from` to now, in steps. Times in seconds. @throws Error with what Prometheus says of the query. */
  async range(query: string, from: number, step: number): Promise<Series[]> {
    const parameters = { query, start: String(from), end: String(Date.now() / 1000), step: String(step) };
    const { result } = (await this.#ask('query_range', parameters)) as { result: readonly ApiSeries[] };
    return result.map(({ metric, values }) => ({ labels: metric, values: values.map(([, value]) => Number(value)) }));
  }

  /** The sum of all series of a query at this moment; 0 where there are none. */
  async sum(query: string): Promise<number> {
    const { result } = (await this.#ask('query', { query: `sum(${query}) or vector(0)` })) as {
      result: readonly { readonly value: readonly [number, string] }[];
    };
    return Number(result[0]?.value[1]);
  }

  /** Waits until a query has the value, as it has once that was scraped. @returns whether it had, in time. */
  async until(query: string, value: number, deadlineMs: number): Promise<boolean> {
    const deadline = performance.now() + deadlineMs;
    for (;;) {
      if ((await this.sum(query)) === value) return true;
      if (performance.now() > deadline) return false;
      await sleep(LOOK_MS);
    }
  }

  /** Rules that could not be evaluated, with the reason. */
  async brokenRules(): Promise<string[]> {
    const { groups } = (await this.#ask('rules', {})) as {
      groups: readonly { rules: readonly { name: string; health: string; lastError?: string }[] }[];
    };
    const broken = groups.flatMap(({ rules }) => rules).filter(({ health }) => health !== 'ok');
    return broken.map(({ name, health, lastError }) => `${name}: ${health} ${lastError ?? ''}`);
  }

  /** Ends it and removes what it stored. */
  async stop(): Promise<void> {
    const { exitCode, signalCode } = this.#child;
    if (this.#child.pid !== undefined && exitCode === null && signalCode === null) {
      const exited = once(this.#child, 'exit');
      this.#child.kill('SIGTERM');
      const kill = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
      await exited;
      clearTimeout(kill);
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #untilReady(): Promise<void> {
    // Without a program of that name there is an error event in the place of a process.
    const failed = once(this.#child, 'exit').then(([code]) => `it ended with ${String(code)}`);
    const deadline = performance.now() + READY_MS;
    for (;;) {
      const ready = fetch(`${this.#url}/-/ready`).then(
        ({ ok }) => (ok ? true : null),
        () => null,
      );
      const state = await Promise.race([ready, failed]);
      if (state === true) return;
      if (state !== null || performance.now() > deadline) throw new Error(`Prometheus did not start: ${state}`);
      await sleep(LOOK_MS);
    }
  }

  async #ask(what: string, parameters: Record<string, string>): Promise<unknown> {
    const response = await fetch(`${this.#url}/api/v1/${what}?${new URLSearchParams(parameters).toString()}`);
    const { status, error, data } = (await response.json()) as ApiAnswer;
    if (status !== 'success') throw new Error(error);
    return data;
  }
}

/** The example with one thing in it changed, which has to be there. */
function replaced(text: string, part: string, by: string): string {
  if (!text.includes(part)) throw new Error(`There is no ${part} in deploy/prometheus/prometheus.yml`);
  return text.replaceAll(part, by);
}
