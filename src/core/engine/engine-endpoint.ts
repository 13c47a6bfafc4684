import type { Dispatcher } from 'undici';
import type { LlameroError } from '../errors.ts';
import type { EngineStateName } from '../events.ts';
import type { EngineConfig } from '../config.ts';
import type { EngineSettings } from './engine-settings.ts';
import type { PlannedCauseName } from './engine-state.ts';
import type { VitalSigns } from './vital-signs.ts';

/** What `/props` of a ready llama-server says of itself. */
export interface EngineFacts {
  /** Name under which the model is served. */
  readonly model: string;
  readonly slots: number;
  /** Context length of one slot, in tokens. */
  readonly contextLength: number;
  readonly hasChatTemplate: boolean;
  /** Build of the server, as it names itself. */
  readonly build: string;
}

/** A verified engine that takes requests. Valid until its generation ends. */
export interface ReadyEngine {
  readonly generation: number;
  /** Connections to this generation only; destroyed with it. */
  readonly dispatcher: Dispatcher;
  /** Headers that every request to this engine needs. */
  readonly headers: Readonly<Record<string, string>>;
  readonly facts: EngineFacts;
}

/** What can be shown of an engine at any time. */
export interface EngineStatus {
  readonly state: EngineStateName;
  readonly generation: number;
  /** Why it is not there, when it is not. */
  readonly cause: { readonly name: string; readonly message: string } | null;
  readonly facts: EngineFacts | null;
  readonly pid: number | null;
  /** When the present generation became ready, in ms since the epoch. */
  readonly readySince: number | null;
  /** How long the present generation took from spawn to ready, in ms. */
  readonly startMs: number | null;
  /** Unexpected ends since the first start. */
  readonly crashes: number;
  /** Other processes during a planned restart: the one that starts, and those that finish their requests. */
  readonly alongside: readonly AlongsideEngine[];
}

/** An engine beside the one that takes requests. */
export interface AlongsideEngine {
  readonly generation: number;
  readonly state: 'starting' | 'draining' | 'stopping';
  readonly pid: number | null;
}

/** What a planned restart is asked to do. */
export interface ReplacementPlan {
  readonly cause: PlannedCauseName;
  /** Only that one is replaced; null: whichever there is. */
  readonly generation: number | null;
  /** Resolves when no request is left on that generation. */
  readonly drained: (generation: number) => Promise<void>;
  /** Slots that requests need which have been sent to that generation. */
  readonly slotsInUse: (generation: number) => number;
  /** How long requests may go on at the old engine, in ms; default `engine.drainTimeout`. Then it is ended, and they go on at the next. */
  readonly drainMs?: number | undefined;
  /** What the new engine is to run; null: the same as the old one. */
  readonly settings: EngineSettings | null;
}

/** A planned restart that succeeded. */
export interface Replacement {
  readonly from: number;
  readonly to: number;
  /** Whether the old engine served until the new one was ready; else requests waited meanwhile. */
  readonly overlap: boolean;
  /** Conversations without a running request whose prompt cache the new engine has. */
  readonly slotsRestored: number;
  /** Until the new engine took requests. */
  readonly durationMs: number;
}

/** An engine as the pipeline sees it, whether llamero owns its process (`SupervisedEngine`) or not (`AttachedEngine`). */
export interface EngineEndpoint {
  /** The engine if it takes requests right now; without waiting. */
  current(): ReadyEngine | null;
  /**
   * Waits until the engine takes requests; starts it if nobody has. Always answers: ready, the cause of a failure,
   * or the signal's reason.
   * @throws LlameroError `engine_unavailable` with the cause, or the reason of the signal.
   */
  ready(signal: AbortSignal): Promise<ReadyEngine>;
  /** Tells the owner that a connection to this generation failed, which may be the first sign of its end. */
  suspect(generation: number): void;
  /** Why requests to this generation broke: waits shortly for the exit of the process to tell more than its socket does. */
  explainLoss(generation: number): Promise<LlameroError>;
  /** Looks whether that generation lives; see `takeVitalSigns`. null when it is no longer there. Never rejects. */
  vitalSigns(generation: number, limitMs: number): Promise<VitalSigns | null>;
  /**
   * That generation gives no sign of life: it is ended at once and counts as crashed with cause `hung`. Its connections are
   * destroyed, so its requests see a loss. An engine that somebody else runs cannot be ended; it is used again when it
   * answers `/health` and `/slots`. Nothing happens when the generation is gone, or being stopped anyway.
   * @param silentMs how long it has been silent.
   * @param evidence what speaks for it, for the log.
   */
  replaceHung(generation: number, silentMs: number, evidence: string): void;
  /**
   * Replaces a working engine by a fresh one. Not a crash. Where memory allows, the fresh one is started beside it, verified,
   * given the prompt caches of idle conversations, and takes all requests from then on; the old one finishes those that it has and is
   * stopped. If the fresh one does not start, the old one goes on as if nothing had been tried. Where memory is short, the old one is
   * drained and stopped first, and requests wait (`current()` is null, `ready()` waits for the fresh one).
   * An engine that does not work is started, with the new settings.
   * Resolves when the fresh one takes requests.
   * @throws LlameroError `engine_unavailable` with the cause: it did not start, is being replaced already, or is being stopped;
   * `invalid_request` for an engine that somebody else runs.
   */
  replace(plan: ReplacementPlan): Promise<Replacement>;
  /** `engine.memoryLimit` of the present engine. */
  readonly memoryLimit: EngineConfig['memoryLimit'];
  status(): EngineStatus;
  start(): Promise<void>;
  /** Lets the running requests be and takes no new ones; a crash is not followed by a restart any more. */
  drain(): void;
  /** Ends the engine. Idempotent; resolves when nothing of it is left. */
  stop(): Promise<void>;
}
