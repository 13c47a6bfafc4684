import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'undici';
import { LlameroError, toLlameroError } from '../errors.ts';
import type { EngineStateName, ExitCauseName, LlameroEmitter } from '../events.ts';
import { openConnections } from './connections.ts';
import type { EngineEndpoint, EngineStatus, ReadyEngine } from './engine-endpoint.ts';
import type { ExitCause } from './exit-cause.ts';
import { probeFacts, probeHealth, probeSlots, type ProbeTarget } from './probe.ts';
import { ReadinessWaiters } from './readiness-waiters.ts';
import { hungCause, lossBy } from './unavailable.ts';
import { takeVitalSigns, type VitalSigns } from './vital-signs.ts';

const FIRST_PROBE_PAUSE_MS = 50;
const LONGEST_PROBE_PAUSE_MS = 2000;

export interface AttachedEngineOptions {
  /** Base address of the llama-server, `http://host:port`. A path is not supported by llama-server without a prefix option. */
  readonly url: string;
  /** Key that the server asks for (`--api-key`), if it does. */
  readonly apiKey?: string | undefined;
  /** Limit for reaching it (`timeouts.connect`). Default 5000. */
  readonly connectTimeoutMs?: number;
  readonly events: LlameroEmitter;
}

/**
 * A llama-server that somebody else runs. The same as a supervised one without owning the process: it is verified before
 * use, watched through its connections, and verified anew after one of them failed.
 */
export class AttachedEngine implements EngineEndpoint {
  readonly #options: AttachedEngineOptions;
  #connections: Promise<Pool> | null = null;
  readonly #headers: Readonly<Record<string, string>>;
  #state: EngineStateName = 'stopped';
  #generation = 0;
  #ready: ReadyEngine | null = null;
  #readySince: number | null = null;
  #startMs: number | null = null;
  #losses = 0;
  /** The latest generation that was given up for its silence. */
  #hung: { readonly generation: number; readonly cause: ExitCause } | null = null;
  #problem = 'it has not been asked yet';
  #probing: { readonly abort: AbortController; readonly done: Promise<void> } | null = null;
  readonly #waiters = new ReadinessWaiters();

  readonly memoryLimit = 'auto';

  constructor(options: AttachedEngineOptions) {
    this.#options = options;
    this.#headers = options.apiKey === undefined ? {} : { authorization: `Bearer ${options.apiKey}` };
  }

  current(): ReadyEngine | null {
    return this.#ready;
  }

  async ready(signal: AbortSignal): Promise<ReadyEngine> {
    signal.throwIfAborted();
    if (this.#state === 'draining' || this.#state === 'stopping')
      throw new LlameroError('engine_unavailable', 'The engine is being stopped.');
    if (this.#ready !== null) return this.#ready;
    this.#probe();
    return this.#waiters.wait(signal);
  }

  async start(): Promise<void> {
    await this.ready(new AbortController().signal);
  }

  suspect(generation: number): void {
    if (generation !== this.#generation || this.#ready === null) return;
    this.#problem = 'a connection to it broke';
    this.#lose('unreachable', 'The llama-server stopped answering.');
  }

  async vitalSigns(generation: number, limitMs: number): Promise<VitalSigns | null> {
    const ready = this.#ready;
    return ready?.generation === generation ? takeVitalSigns(ready, null, limitMs) : null;
  }

  replaceHung(generation: number, silentMs: number, evidence: string): void {
    if (generation !== this.#generation || this.#ready === null) return;
    const cause = hungCause(silentMs, 'given up');
    this.#hung = { generation, cause };
    this.#problem = 'it gives no sign of life';
    this.#options.events.publish('engine-hang', { generation, silentMs, evidence });
    const old = this.#connections;
    this.#connections = null;
    this.#lose('hung', cause.message);
    void old?.then((pool) => pool.destroy(lossBy(cause)));
  }

  /** @throws LlameroError `invalid_request`: its process is somebody else's. */
  async replace(): Promise<never> {
    throw new LlameroError('invalid_request', 'This llama-server is run by somebody else, who has to restart it.');
  }

  #lose(cause: ExitCauseName, message: string): void {
    const generation = this.#generation;
    this.#losses += 1;
    this.#ready = null;
    this.#readySince = null;
    this.#options.events.publish('engine-exit', {
      generation,
      cause,
      message,
      code: null,
      signal: null,
      expected: false,
      log: [],
    });
    this.#become('crashed');
    this.#probe();
  }

  async explainLoss(generation: number): Promise<LlameroError> {
    if (this.#hung?.generation === generation) return lossBy(this.#hung.cause);
    const error = new LlameroError('engine_error', 'The connection to the llama-server broke.', {
      details: { cause: 'unreachable' },
    });
    if (generation === this.#generation && this.#ready !== null && (await this.#answers())) return error;
    this.suspect(generation);
    return error;
  }

  status(): EngineStatus {
    return {
      state: this.#state,
      generation: this.#generation,
      cause:
        this.#ready === null
          ? { name: 'unreachable', message: `The llama-server is not reachable: ${this.#problem}.` }
          : null,
      facts: this.#ready?.facts ?? null,
      pid: null,
      readySince: this.#readySince,
      startMs: this.#startMs,
      crashes: this.#losses,
      alongside: [],
    };
  }

  drain(): void {
    if (this.#state === 'ready') this.#become('draining');
  }

  async stop(): Promise<void> {
    this.#become('stopping');
    this.#waiters.settle(null, () => new LlameroError('engine_unavailable', 'The engine is being stopped.'));
    this.#probing?.abort.abort(new LlameroError('engine_unavailable', 'The engine is being stopped.'));
    this.#ready = null;
    await this.#probing?.done;
    await (await this.#connections)?.destroy(new LlameroError('engine_unavailable', 'The engine is being stopped.'));
    this.#become('stopped');
  }

  /** Whether the server answers at all, after one connection to it broke. */
  async #answers(): Promise<boolean> {
    return (await probeHealth(await this.#target(), new AbortController().signal)) !== 'unreachable';
  }

  async #target(): Promise<ProbeTarget & { dispatcher: Pool }> {
    this.#connections ??= openConnections(new URL(this.#options.url).origin, {
      connectTimeoutMs: this.#options.connectTimeoutMs,
    });
    return { dispatcher: await this.#connections, headers: this.#headers };
  }

  #probe(): void {
    if (this.#probing !== null) return;
    const abort = new AbortController();
    const done = this.#probeUntilReady(abort.signal).finally(() => {
      this.#probing = null;
    });
    this.#probing = { abort, done };
  }

  /** Never rejects; ends with readiness or with the signal. */
  async #probeUntilReady(signal: AbortSignal): Promise<void> {
    this.#become('starting');
    this.#generation += 1;
    const startedAt = performance.now();
    this.#options.events.publish('engine-start', {
      generation: this.#generation,
      command: new URL(this.#options.url).origin,
      args: [],
    });
    for (let pauseMs = FIRST_PROBE_PAUSE_MS; !signal.aborted; pauseMs = Math.min(pauseMs * 2, LONGEST_PROBE_PAUSE_MS)) {
      try {
        if (await this.#tryOnce(signal, startedAt)) return;
        await sleep(pauseMs, undefined, { signal });
      } catch (error) {
        if (!signal.aborted) this.#problem = toLlameroError(error).message;
      }
    }
  }

  async #tryOnce(signal: AbortSignal, startedAt: number): Promise<boolean> {
    const target = await this.#target();
    const health = await probeHealth(target, signal);
    this.#problem = health === 'loading' ? 'it is loading its model' : 'it does not answer';
    if (health !== 'ready') return false;
    // `/health` of a hung llama-server says 200; after a hang it has to show that it works as well.
    if (this.#hung?.generation === this.#generation - 1 && !(await probeSlots(target, signal))) {
      this.#problem = 'it does not answer /slots';
      return false;
    }
    try {
      const facts = await probeFacts(target, signal);
      this.#arrive({ ...target, facts }, performance.now() - startedAt);
      return true;
    } catch (error) {
      this.#problem = toLlameroError(error).message.replace(/\.$/, '');
      return false;
    }
  }

  #arrive(engine: Omit<ReadyEngine, 'generation'>, startMs: number): void {
    const ready: ReadyEngine = { ...engine, generation: this.#generation };
    this.#ready = ready;
    this.#readySince = Date.now();
    this.#startMs = startMs;
    this.#become('ready');
    const { slots, contextLength, model } = engine.facts;
    this.#options.events.publish('engine-ready', {
      generation: this.#generation,
      startMs,
      slots,
      contextLength,
      model,
    });
    this.#waiters.settle(ready, () => null);
  }

  #become(state: EngineStateName): void {
    const from = this.#state;
    if (from === state) return;
    this.#state = state;
    this.#options.events.publish('engine-state', { from, to: state, generation: this.#generation });
  }
}
