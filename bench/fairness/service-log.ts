import type { Client } from '../../src/core/admission/client.ts';
import { parseConfig } from '../../src/core/config.ts';
import { percentile } from '../statistics.ts';
import type { Arrival, Workload } from './workloads.ts';

/** Services are compared over windows of this length. */
const WINDOW_MS = 30_000;
/** Left out at the start, while the engine fills. */
const WARM_UP_MS = 30_000;

const { promptTokenWeight, generatedTokenWeight } = parseConfig({}).fairness;

/** What became of one client. */
export interface ClientFigures {
  readonly client: string;
  readonly sent: number;
  readonly refused: number;
  readonly completed: number;
  /** Part of all service. */
  readonly share: number;
  /** Time to first token in ms; NaN when nothing came. */
  readonly firstTokenP50: number;
  readonly firstTokenP99: number;
}

/** What became of a workload under a scheduler. */
export interface RunFigures {
  readonly workload: string;
  readonly scheduler: string;
  /**
   * Largest and average unfairness of a window: how much less service per weight a client got than the one of its class who
   * got most, as far as it had asked for more (as in the paper, section 5.1). In weighted tokens per second.
   */
  readonly largestGap: number;
  readonly averageGap: number;
  /** Prompt and generated tokens of answers, per second. */
  readonly tokensPerSecond: number;
  readonly clients: readonly ClientFigures[];
}

interface Account {
  readonly client: Client;
  sent: number;
  refused: number;
  completed: number;
  /** Service asked for and service given, by window. */
  readonly asked: number[];
  readonly given: number[];
  readonly firstTokens: number[];
}

/** Counts what every client asked for and got. */
export class ServiceLog {
  readonly #workload: Workload;
  readonly #scheduler: string;
  readonly #accounts: Map<string, Account>;
  #tokens = 0;

  constructor(workload: Workload, scheduler: string) {
    this.#workload = workload;
    this.#scheduler = scheduler;
    const windows = Math.ceil(workload.lengthMs / WINDOW_MS) + 1;
    const zeros = (): number[] => Array.from({ length: windows }, () => 0);
    this.#accounts = new Map(
      workload.clients.map((client) => [
        client.key,
        { client, sent: 0, refused: 0, completed: 0, asked: zeros(), given: zeros(), firstTokens: [] },
      ]),
    );
  }

  arrived(arrival: Arrival): void {
    const account = this.#of(arrival);
    account.sent += 1;
    const service = promptTokenWeight * arrival.promptTokens + generatedTokenWeight * arrival.generatedTokens;
    add(account.asked, arrival.atMs, service);
  }

  /** Refused requests were asked for as well. */
  refused(arrival: Arrival): void {
    this.arrived(arrival);
    this.#of(arrival).refused += 1;
  }

  firstToken(arrival: Arrival, nowMs: number): void {
    const account = this.#of(arrival);
    account.firstTokens.push(nowMs - arrival.atMs);
    add(account.given, nowMs, promptTokenWeight * arrival.promptTokens);
    this.#tokens += arrival.promptTokens;
  }

  token(arrival: Arrival, nowMs: number): void {
    add(this.#of(arrival).given, nowMs, generatedTokenWeight);
    this.#tokens += 1;
  }

  completed(arrival: Arrival): void {
    this.#of(arrival).completed += 1;
  }

  figures(): RunFigures {
    const accounts = [...this.#accounts.values()];
    const gaps = this.#gaps(accounts);
    const total = accounts.reduce((sum, account) => sum + sumOf(account.given), 0);
    return {
      workload: this.#workload.name,
      scheduler: this.#scheduler,
      largestGap: Math.max(...gaps),
      averageGap: sumOf(gaps) / gaps.length,
      tokensPerSecond: (this.#tokens / this.#workload.lengthMs) * 1000,
      clients: accounts.map(({ client, sent, refused, completed, given, firstTokens }) => {
        const sorted = firstTokens.toSorted((one, other) => one - other);
        return {
          client: client.key.replace('user:', ''),
          sent,
          refused,
          completed,
          share: sumOf(given) / total,
          firstTokenP50: percentile(sorted, 0.5),
          firstTokenP99: percentile(sorted, 0.99),
        };
      }),
    };
  }

  #gaps(accounts: readonly Account[]): number[] {
    const gaps: number[] = [];
    const windows = Math.floor(this.#workload.lengthMs / WINDOW_MS);
    for (let window = WARM_UP_MS / WINDOW_MS; window < windows; window++) {
      const rates = accounts.map(({ client, given, asked }) => ({
        priority: client.priority,
        given: (given[window] as number) / client.weight,
        // What was asked for and not given before is still asked for.
        missing: sumOf(asked.slice(0, window + 1)) - sumOf(given.slice(0, window + 1)),
      }));
      const gap = Math.max(
        ...rates.map(({ priority, given, missing }) => {
          const equals = rates.filter((other) => other.priority === priority);
          const most = Math.max(...equals.map((other) => other.given));
          return Math.min(most - given, Math.max(0, missing));
        }),
      );
      gaps.push((gap / WINDOW_MS) * 1000);
    }
    return gaps;
  }

  #of(arrival: Arrival): Account {
    return this.#accounts.get(arrival.client.key) as Account;
  }
}

function add(windows: number[], atMs: number, service: number): void {
  const window = Math.floor(atMs / WINDOW_MS);
  windows[window] = (windows[window] ?? 0) + service;
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
