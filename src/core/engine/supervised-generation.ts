import { type LlameroError, toLlameroError } from '../errors.ts';
import type { LlameroEmitter } from '../events.ts';
import { cacheIdentity } from './cache-identity.ts';
import type { EngineFacts, ReadyEngine } from './engine-endpoint.ts';
import type { EngineProcessEnd } from './engine-process.ts';
import type { EngineLaunch, EngineRun } from './engine-run.ts';
import type { EngineSettings } from './engine-settings.ts';
import { type ExitCause, exitCauseOf, spawnFailureCause } from './exit-cause.ts';
import { runGeneration } from './run-generation.ts';
import { lossBy, unpreparedCause } from './unavailable.ts';

const LOG_LINES_IN_EVENT = 20;

export interface SupervisedGenerationOptions {
  readonly generation: number;
  readonly settings: EngineSettings;
  readonly env: NodeJS.ProcessEnv;
  readonly events: LlameroEmitter;
  /** It is loaded and has told its facts. */
  readonly onVerified: (engine: SupervisedGeneration) => void;
}

/**
 * One generation of a supervised engine, from nothing to its end. Knows why it is ended where llamero ends it, so that its end is
 * told truly, whatever has become of its successors by then.
 */
export class SupervisedGeneration {
  readonly generation: number;
  readonly settings: EngineSettings;
  /** Resolves with the cause when the process has ended, or could not be started. Never rejects. */
  readonly ended: Promise<ExitCause>;
  readonly #options: SupervisedGenerationOptions;
  readonly #starting = new AbortController();
  #run: EngineRun | null = null;
  #launch: EngineLaunch | null = null;
  #identity: string | null = null;
  #ready: ReadyEngine | null = null;
  #startMs: number | null = null;
  /** Why llamero ends it; null: it does not, or for no other reason than that nobody needs it. */
  #cause: ExitCause | null = null;
  #isStopping = false;

  constructor(options: SupervisedGenerationOptions) {
    this.#options = options;
    this.generation = options.generation;
    this.settings = options.settings;
    // Nobody hears of it before its owner has it.
    this.ended = Promise.resolve().then(() => this.#live());
  }

  /** The process with its connections; null before it was spawned. */
  get run(): EngineRun | null {
    return this.#run;
  }

  /** null until it was verified. */
  get ready(): ReadyEngine | null {
    return this.#ready;
  }

  /** null until engine and model were found. */
  get launch(): EngineLaunch | null {
    return this.#launch;
  }

  /** What its prompt caches depend on; null until it was verified. */
  get identity(): string | null {
    return this.#identity;
  }

  /** From spawn to verified, in ms. */
  get startMs(): number | null {
    return this.#startMs;
  }

  get pid(): number | null {
    return this.#run?.process.pid ?? null;
  }

  /** Whether llamero has asked it to end. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** What its requests are told if their connections break now: known at once where llamero itself breaks them. */
  get knownLoss(): LlameroError | null {
    return this.#cause === null ? null : lossBy(this.#cause);
  }

  /** Ends it in an orderly way. Idempotent; the first cause stands. @param cause null: nobody needs it any more. */
  terminate(cause: ExitCause | null, reason: LlameroError): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#cause ??= cause;
    this.#starting.abort(reason);
    void this.#run?.terminate(reason);
  }

  /** Ends it by force, because it gives no sign of life. */
  kill(cause: ExitCause, reason: LlameroError): void {
    this.#cause ??= cause;
    void this.#run?.kill(reason);
  }

  /** Removes what is left once it has ended. Never rejects. */
  async clear(): Promise<void> {
    const run = this.#run;
    this.#run = null;
    this.#ready = null;
    try {
      await run?.clear();
    } catch (error) {
      // An engine must come back even where its old directory cannot be removed.
      process.emitWarning(
        `The private directory of an engine could not be removed: ${String(error)}`,
        'LlameroWarning',
      );
    }
  }

  async #live(): Promise<ExitCause> {
    const { generation, settings, env, events } = this.#options;
    const { signal } = this.#starting;
    try {
      const launch = await settings.prepare(signal);
      this.#launch = launch;
      this.#identity = await cacheIdentity(settings.config, launch);
      return await runGeneration(
        {
          generation,
          launch,
          config: settings.config,
          env,
          events,
          onRun: (run) => {
            this.#run = run;
          },
          onReady: (run, facts) => this.#onReady(run, facts),
          onEnd: (end, startupTimedOut) => this.#onEnd(end, startupTimedOut),
        },
        signal,
      );
    } catch (thrown) {
      const error = toLlameroError(thrown);
      const cause = unpreparedCause(error);
      this.#publishExit({ code: null, signal: null, log: [error.message] }, cause);
      return cause;
    }
  }

  #onReady(run: EngineRun, facts: EngineFacts): void {
    if (this.#isStopping) return;
    this.#ready = run.asReady(facts);
    this.#startMs = performance.now() - run.startedAt;
    this.#options.onVerified(this);
  }

  #onEnd(end: EngineProcessEnd, startupTimedOut: boolean): ExitCause {
    this.#ready = null;
    const cause =
      end.spawnError === null
        ? (this.#cause ?? exitCauseOf({ ...end, stopping: this.#isStopping, startupTimedOut }))
        : spawnFailureCause(end.spawnError);
    this.#publishExit(end, cause);
    return cause;
  }

  #publishExit(end: Pick<EngineProcessEnd, 'code' | 'signal' | 'log'>, cause: ExitCause): void {
    this.#options.events.publish('engine-exit', {
      generation: this.generation,
      cause: cause.name,
      message: cause.message,
      code: end.code,
      signal: end.signal,
      expected: this.#isStopping,
      log: end.log.slice(-LOG_LINES_IN_EVENT),
    });
  }
}
