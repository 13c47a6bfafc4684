import { LlameroError } from '../../../core/errors.ts';
import { type AlertChange, LlameroEmitter, type SettledRequest } from '../../../core/events.ts';
import { settledRequest } from '../../__tests__/observed-provider.ts';
import type { ProcessReading } from '../alert-conditions.ts';
import type { AlertSource } from '../alert-signals.ts';
import { type AlertWatch, type AlertWatchOptions, watchAlerts } from '../watch-alerts.ts';

export const STEP_MS = 15_000;
export const MINUTE = 60_000 / STEP_MS;

/** Something to watch whose time passes when it is told to. */
export class WatchedSource implements AlertSource {
  readonly events = new LlameroEmitter();
  readonly changes: AlertChange[] = [];
  engine: ReturnType<AlertSource['status']> = { state: 'ready', circuit: 'closed', memory: null };
  process: ProcessReading = {
    fileDescriptors: { open: 20, most: 1000 },
    residentBytes: 150_000_000,
    eventLoopDelayMs: 21,
  };
  readonly watch: AlertWatch;
  #nowMs = 50_000;

  constructor(options: AlertWatchOptions = {}) {
    this.events.on('alert', (change) => this.changes.push(change));
    this.watch = watchAlerts(this, {
      intervalMs: STEP_MS,
      now: () => this.#nowMs,
      probe: { read: () => this.process, [Symbol.dispose]: () => undefined },
      ...options,
    });
  }

  status() {
    return this.engine;
  }

  /** So many evaluations, 15 s apart; `each` happens before each of them. */
  steps(count: number, each: () => void = () => undefined): this {
    for (let step = 0; step < count; step += 1) {
      each();
      this.#nowMs += STEP_MS;
      this.watch.evaluate();
    }
    return this;
  }

  /** Requests that end, all alike. */
  settle(count: number, request: Partial<SettledRequest> = {}): void {
    for (let index = 0; index < count; index += 1) this.events.publish('settled', settledRequest(request));
  }

  /** A request that the gateway refuses. */
  refuse(code: LlameroError['code']): void {
    this.events.publish('request-refused', { id: 'r', route: 'none', error: new LlameroError(code, 'for a test') });
  }

  /** An engine that ended although nobody asked for it. */
  crash(): void {
    const facts = { cause: 'killed', message: '', code: null, signal: 'SIGKILL', log: [] } as const;
    this.events.publish('engine-exit', { generation: 1, expected: false, ...facts });
  }

  /** What fires now: names, with what tells them apart. */
  firing(): string[] {
    return this.watch
      .report()
      .filter(({ state }) => state === 'firing')
      .map(({ name, labels }) => [name, ...Object.values(labels)].join(' '));
  }
}

/** How a request fails with this code. */
export function failed(code: LlameroError['code']): Partial<SettledRequest> {
  const error = new LlameroError(code, 'for a test');
  const none = { prefillMs: null, firstTokenMs: null, decodeMs: null, usage: null, headSent: false };
  return { outcome: 'failed', error, status: error.status, ...none };
}
