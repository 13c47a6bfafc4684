import type { Dispatcher } from 'undici';
import type { LlameroError } from '../errors.ts';
import type { EngineStateName } from '../events.ts';
import type { PlannedCauseName } from './lifecycle.ts';
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
   * Replaces a working engine: it takes no new requests from now on (`current()` is null, `ready()` waits for the fresh one),
   * ends when `drained` resolves, and a fresh one is started. Not a crash. Nothing bounds the drain but the deadlines of the
   * requests themselves: no stream is cut for it. Nothing happens unless that generation is ready, nor with an engine that
   * somebody else runs.
   * @param drained resolves when no request is left on that generation.
   */
  replace(generation: number, cause: PlannedCauseName, drained: Promise<void>): void;
  status(): EngineStatus;
  start(): Promise<void>;
  /** Lets the running requests be and takes no new ones; a crash is not followed by a restart any more. */
  drain(): void;
  /** Ends the engine. Idempotent; resolves when nothing of it is left. */
  stop(): Promise<void>;
}
