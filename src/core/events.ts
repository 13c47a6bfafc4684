import { EventEmitter } from 'node:events';
import type { LlameroError } from './errors.ts';

/** Where an engine is in its life; see `core/engine/engine-state.ts`. */
export type EngineStateName =
  | 'stopped'
  | 'starting'
  | 'ready'
  | 'draining'
  | 'stopping'
  | 'crashed'
  | 'backing-off'
  | 'failed';

/** Why an engine process ended, told apart from exit code, signal and last log lines. */
export type ExitCauseName =
  | 'stopped'
  | 'model_missing'
  | 'model_not_gguf'
  | 'model_unknown_architecture'
  | 'model_invalid'
  | 'out_of_memory'
  | 'killed_by_system'
  | 'killed'
  | 'assertion'
  | 'segmentation_fault'
  | 'illegal_instruction'
  | 'port_taken'
  | 'wrong_option'
  | 'not_executable'
  | 'not_prepared'
  | 'startup_timeout'
  | 'hung'
  | 'memory_limit'
  | 'replaced'
  | 'unreachable'
  | 'signal'
  | 'exit';

/** State of a circuit breaker. */
export type CircuitStateName = 'closed' | 'open' | 'half-open';

/** How a request ended. Every request ends in exactly one outcome. */
export type RequestOutcome = 'completed' | 'failed' | 'cancelled';

/** Everything observable, by event name. Telemetry, logs and `provider.on` all live from this one union. */
export interface LlameroEvents {
  /** A request entered the pipeline. Carries no prompt. */
  request: [{ id: string; route: string; stream: boolean; bodyBytes: number }];
  /** A request ended with an answer of the engine, an engine's own 4xx included. Durations in ms; `queueMs` includes waiting for the engine. */
  response: [
    {
      id: string;
      route: string;
      stream: boolean;
      status: number;
      queueMs: number;
      firstByteMs: number | null;
      totalMs: number;
      usage: TokenCounts | null;
    },
  ];
  /** A request failed, or was cancelled (`error.code === 'cancelled'`). */
  error: [{ id: string; route: string; stream: boolean; error: LlameroError; totalMs: number }];
  /** A request ended, in whatever way: all that was measured of it, for metrics and traces. Comes before `response` or `error`. */
  settled: [SettledRequest];
  /**
   * The gateway answered a request with an error before it entered the pipeline: no valid key, no such route, no JSON, not HTTP. It
   * is none of the requests of the events above. `route`: name of a route of the gateway; `none` where it asked for no such one, or
   * nobody could tell.
   */
  'request-refused': [{ id: string; route: string; error: LlameroError }];
  /**
   * A request was refused because of a limit of its client; at most one event a second for each client, `refusals` are
   * those since the last one. `client` is a hash that differs from run to run, never an address or a name.
   */
  'rate-limit': [{ id: string; pool: string; client: string; limit: string; retryAfterMs: number; refusals: number }];
  /** The store of the rate limits cannot be reached (`ok: false`), or can be again. */
  'rate-limit-store': [{ ok: boolean; message: string }];
  /** A request is sent once more, after `delayMs`; `attempt` counts from 1. */
  retry: [{ id: string; route: string; attempt: number; delayMs: number; reason: string }];
  /** The engine of a stream was lost, and another goes on with it; `attempt` counts from 1. */
  'stream-continued': [{ id: string; route: string; attempt: number; way: 'ids' | 'text' | 'replay'; cause: string }];
  /** A stream was ended as complete, but without the end of its dialect: a defect of llamero, looked for at each stream. */
  'stream-truncated': [{ id: string; route: string }];
  /** The circuit breaker of the engine changed its state. */
  circuit: [{ from: CircuitStateName; to: CircuitStateName; cause: string | null }];
  /** A request was in flight when the engine died, `strikes` times by now; at two it is refused from then on. */
  'request-suspect': [{ id: string; route: string; strikes: number; refused: boolean }];
  /** An engine gave no sign of life for `silentMs` while it had work, and is replaced. */
  'engine-hang': [{ generation: number; silentMs: number; evidence: string }];
  /** An engine is drained and replaced, or llamero holds back admission, because memory runs out (`ok: false`); or no more. */
  memory: [
    { of: 'llamero' | 'engine' | 'machine'; ok: boolean; usedBytes: number; limitBytes: number; message: string },
  ];
  /**
   * The memory of the engine that takes requests, as it was looked at: every 5 s, on Linux, unless somebody else runs it.
   * `growthBytesPerRequest`: null while too few requests have ended; `gpuBytes`: null where `nvidia-smi` does not tell it.
   */
  'engine-memory': [EngineMemoryReading];
  /** A process is about to be started. */
  'engine-start': [{ generation: number; command: string; args: readonly string[] }];
  /**
   * The engine answered `/health` and `/props`: requests may flow. `startMs` counts from spawn. `replaces`: the generation whose
   * place it takes while that one still finishes its requests.
   */
  'engine-ready': [
    { generation: number; startMs: number; slots: number; contextLength: number; model: string; replaces?: number },
  ];
  /**
   * A planned restart has ended: with another engine (`ok`), or without one, because that could not start. `overlap`: the old engine
   * served until the new one was ready. `slotsRestored` of `slotsIdle` conversations kept their prompt cache; `slotsLeft` says why others did not.
   */
  'engine-replacement': [
    {
      ok: boolean;
      cause: 'memory_limit' | 'restart';
      from: number;
      to: number;
      overlap: boolean;
      slotsIdle: number;
      slotsRestored: number;
      slotsLeft: string | null;
      durationMs: number;
      message: string;
    },
  ];
  /** The process is gone. */
  'engine-exit': [
    {
      generation: number;
      cause: ExitCauseName;
      message: string;
      code: number | null;
      signal: string | null;
      expected: boolean;
      log: readonly string[];
    },
  ];
  /** The engine will be started again after `delayMs`. */
  'engine-backoff': [{ generation: number; delayMs: number; restartsInWindow: number; cause: ExitCauseName }];
  /** Any change of the engine's state. */
  'engine-state': [{ from: EngineStateName; to: EngineStateName; generation: number }];
  /** Nothing else ran in llamero's process for `ms`. `stack`: what ran then, innermost first; null where it is not known. */
  'event-loop-stall': [{ ms: number; stack: readonly string[] | null }];
  /** The state of an alert changed; once for each change. Carries no prompt, client or address. See docs/alerts.md. */
  alert: [AlertChange];
  /** One line of the engine's log, as it came. May hold prompts at debug verbosity: log it only when asked to. */
  'engine-log': [{ generation: number; line: string }];
}

/**
 * Names of the alerts, the same as those of the Prometheus rules. `telemetry/alerts/alert-definitions.ts` says what each means; the
 * names are here because events and configuration have them too.
 */
export const ALERT_NAMES = [
  'LlameroErrorRatioHigh',
  'LlameroSilentTruncation',
  'LlameroFirstTokenSlow',
  'LlameroQueueWaitLong',
  'LlameroQueueNearlyFull',
  'LlameroEngineDown',
  'LlameroEngineFailed',
  'LlameroEngineCrashLoop',
  'LlameroEngineHung',
  'LlameroCircuitOpen',
  'LlameroEngineMemoryGrowing',
  'LlameroMemoryShort',
  'LlameroMemoryNearLimit',
  'LlameroFileDescriptorsLow',
  'LlameroEventLoopDelayed',
  'LlameroRateLimitStoreDown',
] as const;

/** Name of an alert. */
export type AlertName = (typeof ALERT_NAMES)[number];

/** `critical`: somebody has to look now, whatever the hour; `warning`: today. */
export type AlertSeverity = 'critical' | 'warning';

/** As in Prometheus: the symptom is there, but not for long enough; it is; it was, and is gone. */
export type AlertStateName = 'pending' | 'firing' | 'resolved';

/** What is told of an alert. Times are ISO 8601 in UTC. */
export interface AlertReport {
  readonly name: AlertName;
  readonly severity: AlertSeverity;
  readonly state: AlertStateName;
  /** What tells alerts of one name apart, `{ model: 'tiny' }` for example. */
  readonly labels: Readonly<Record<string, string>>;
  /** What is wrong, in a few words; the same at all times. */
  readonly summary: string;
  /** The same with figures of this moment, or of the last moment at which the symptom was there. */
  readonly description: string;
  /** What was compared with the threshold: seconds, a ratio, a count, bytes, or 1 for yes. */
  readonly value: number;
  /** When the symptom began. */
  readonly since: string;
  /** When it was gone; null while it is not. */
  readonly resolvedAt: string | null;
  /** Where it is written what to do. */
  readonly runbook: string;
}

/** An alert that has changed its state. A symptom that goes before its time is `inactive` again. */
export interface AlertChange extends Omit<AlertReport, 'state'> {
  readonly state: AlertStateName | 'inactive';
}

/** Memory of an engine, in bytes; see the event `engine-memory`. */
export interface EngineMemoryReading {
  readonly generation: number;
  readonly usedBytes: number;
  readonly limitBytes: number;
  readonly growthBytesPerRequest: number | null;
  readonly gpuBytes: number | null;
}

/** One request, as it ended. Durations in ms; null where there was no such thing. */
export interface SettledRequest {
  id: string;
  route: string;
  /** Name of the model that the engine served; null where none was asked. */
  model: string | null;
  stream: boolean;
  outcome: RequestOutcome;
  /** HTTP status that its caller got, or would get. */
  status: number;
  /** Why it did not complete. */
  error: LlameroError | null;
  /** Whether its caller has had the beginning of an answer. */
  headSent: boolean;
  /** From entering to the first sending: waiting for a slot and for an engine included. */
  queueMs: number;
  /** Of {@link queueMs}, what llamero itself took: without the waiting for a slot, an engine or a store. */
  ownMs: number;
  /** From the first sending to the first token of a stream. */
  prefillMs: number | null;
  /** From entering to the first token of a stream. */
  firstTokenMs: number | null;
  /** From the first token of a stream to its end. */
  decodeMs: number | null;
  totalMs: number;
  /** Tokens of the whole request, as the engine reported them; null where it did not. */
  usage: TokenCounts | null;
  /** Tokens of the answer: as the engine reported them, else as they were seen to come. */
  generatedTokens: number;
  /** Sendings behind the first, before the first token. */
  retries: number;
  /** Engines that went on with the stream of a lost one. */
  continuations: number;
  /** Span of the request; null without tracing. */
  trace: RequestTrace | null;
}

/** A request as part of a trace; whoever makes it ends it when the request has settled. */
export interface RequestTrace {
  /** 32 lower-case hexadecimal digits. */
  readonly traceId: string;
  /** What the engine is told, as W3C Trace Context writes it. */
  readonly traceparent: string;
}

/** Token counts of one request, as the engine reported them. */
export interface TokenCounts {
  promptTokens: number;
  completionTokens: number;
  /** Prompt tokens taken from the slot's cache, where the engine says so. */
  cachedTokens: number;
}

/**
 * The emitter of {@link LlameroEvents}. A listener that throws must not break a request or the supervision of an
 * engine, so `publish` contains it; `error` without a listener is not thrown, unlike in a plain EventEmitter.
 */
export class LlameroEmitter extends EventEmitter<LlameroEvents> {
  /** Emits and survives: exceptions of listeners are reported as process warnings. */
  publish<Name extends keyof LlameroEvents>(name: Name, ...payload: LlameroEvents[Name]): void {
    if (this.listenerCount(name) === 0) return;
    try {
      // The generic overloads of EventEmitter do not resolve for a generic name.
      (this as EventEmitter).emit(name, ...payload);
    } catch (error) {
      process.emitWarning(`A listener of '${name}' threw: ${String(error)}`, 'LlameroWarning');
    }
  }
}
