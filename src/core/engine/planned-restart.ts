import { setTimeout as sleep } from 'node:timers/promises';
import { LlameroError, toLlameroError } from '../errors.ts';
import type { LlameroEmitter } from '../events.ts';
import { NO_SLOTS_CARRIED, SlotCarrier, type SlotSource } from './carry-slots.ts';
import type { Replacement, ReplacementPlan } from './engine-endpoint.ts';
import type { ExitCause } from './exit-cause.ts';
import { createRuntimeDirectory, type RuntimeDirectory } from './runtime-directory.ts';
import type { SupervisedGeneration } from './supervised-generation.ts';

/** One planned restart from being asked for to its outcome: its limits, the caches that it carries over, and its report. */
export class PlannedRestart {
  readonly plan: ReplacementPlan;
  /** Why an engine with the new settings ended before it was ready; null: it has not. */
  candidateCause: ExitCause | null = null;
  readonly #drainMs: number;
  readonly #events: LlameroEmitter;
  readonly #startedAt = performance.now();
  readonly #ending = new AbortController();
  readonly #carrier = new SlotCarrier();
  #from = 0;
  #overlap = false;
  /** Of saved slots while no engine is there. */
  #directory: RuntimeDirectory | null = null;

  constructor(plan: ReplacementPlan, drainMs: number, events: LlameroEmitter) {
    this.plan = plan;
    this.#drainMs = plan.drainMs ?? drainMs;
    this.#events = events;
  }

  /** Aborted when the engine is stopped for good. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  abort(reason: LlameroError): void {
    this.#ending.abort(reason);
  }

  begin(from: number, overlap: boolean): void {
    this.#from = from;
    this.#overlap = overlap;
  }

  /** Resolves when that engine has no requests any more, has had its time, or is gone. */
  async drained(engine: SupervisedGeneration): Promise<void> {
    const limit = new AbortController();
    // A promise that fails can tell of no more requests either.
    const drained = this.plan.drained(engine.generation).catch(ignore);
    await Promise.race([
      drained,
      engine.ended,
      sleep(this.#drainMs, undefined, { signal: limit.signal }).catch(ignore),
    ]);
    limit.abort();
  }

  /** Carries the prompt caches of idle slots from one engine to the other. Never rejects. */
  async carry(from: SupervisedGeneration, to: SupervisedGeneration): Promise<void> {
    const source = this.#sourceOf(from);
    const facts = to.ready?.facts;
    if (source === null || to.run === null || facts === undefined || from.identity !== to.identity) return;
    await this.#carrier.carry(source, to.run, facts.slots);
  }

  /** Saves the prompt caches of a drained engine for the next one. Never rejects. */
  async save(from: SupervisedGeneration, env: NodeJS.ProcessEnv): Promise<void> {
    const source = this.#sourceOf(from);
    if (source === null) return;
    try {
      this.#directory = await createRuntimeDirectory(env);
      // There is no engine in it: should this process die, a later llamero finds its own record and removes the directory.
      await this.#directory.record(process.pid);
    } catch (error) {
      process.emitWarning(`Prompt caches could not be saved: ${String(error)}`, 'LlameroWarning');
      return;
    }
    await this.#carrier.save(source, this.#directory.path, from.identity ?? '');
  }

  /** Restores what {@link save} saved. Never rejects. */
  async restore(to: SupervisedGeneration): Promise<void> {
    const facts = to.ready?.facts;
    if (this.#directory === null || to.run === null || facts === undefined) return;
    await this.#carrier.restore(to.run, facts.slots, to.identity ?? '');
  }

  /** Tells that generation `to` takes requests. */
  succeeded(to: number): Replacement {
    const { idle, restored, problem } = this.#carrier.outcome;
    const durationMs = performance.now() - this.#startedAt;
    const message = `The engine was replaced${this.#overlap ? ' without a gap' : ''}.`;
    this.#publish({ ok: true, to, durationMs, message, slotsIdle: idle, slotsRestored: restored, slotsLeft: problem });
    return { from: this.#from, to, overlap: this.#overlap, slotsRestored: restored, durationMs };
  }

  /** @returns the error to throw. */
  failed(thrown: unknown): LlameroError {
    const error = toLlameroError(thrown);
    const { idle, restored, problem } = NO_SLOTS_CARRIED;
    const durationMs = performance.now() - this.#startedAt;
    const { message } = error;
    this.#publish({
      ok: false,
      to: this.#from,
      durationMs,
      message,
      slotsIdle: idle,
      slotsRestored: restored,
      slotsLeft: problem,
    });
    return error;
  }

  /** Removes what it kept on disk. */
  async end(): Promise<void> {
    await this.#directory?.remove();
  }

  #sourceOf({ generation, run, ready }: SupervisedGeneration): SlotSource | null {
    if (run === null || ready === null) return null;
    const slotsInUse = () => this.plan.slotsInUse(generation);
    return { target: run.target, slotsPath: run.slotsPath, contextLength: ready.facts.contextLength, slotsInUse };
  }

  #publish(outcome: { ok: boolean; to: number; durationMs: number; message: string } & Slots): void {
    const { cause } = this.plan;
    this.#events.publish('engine-replacement', { cause, from: this.#from, overlap: this.#overlap, ...outcome });
  }
}

function ignore(): void {
  // The end of a wait, by whatever it came.
}

interface Slots {
  readonly slotsIdle: number;
  readonly slotsRestored: number;
  readonly slotsLeft: string | null;
}
