import { LlameroError } from '../errors.ts';
import type { EngineState, PlannedCauseName } from './engine-state.ts';
import type { ExitCause } from './exit-cause.ts';

/** Why waiting for an engine in that state is pointless, or null while one may still come. */
export function unavailable(state: EngineState): LlameroError | null {
  switch (state.name) {
    case 'failed':
      return new LlameroError('engine_unavailable', state.cause.message, {
        details: { cause: state.cause.name },
        cause: state.cause.error,
        retryAfterMs: state.retryDelayMs ?? undefined,
      });
    case 'stopping':
    case 'draining':
      return state.next.type === 'replaced'
        ? null
        : new LlameroError('engine_unavailable', 'The engine is being stopped.');
    case 'stopped':
      return new LlameroError('engine_unavailable', 'The engine is stopped.');
    default:
      return null;
  }
}

/** What the preparation failed for: somebody has to act, so it is final. The full message is for logs; it may name paths. */
export function unpreparedCause(error: LlameroError): ExitCause {
  if (error.code === 'model_not_found')
    return { name: 'model_missing', message: 'The model was not found.', final: true, error };
  return {
    name: 'not_prepared',
    message: 'llama-server or the model could not be made ready to start.',
    final: true,
    error,
  };
}

/** The cause of an engine that gave no sign of life while it had work. @param done what was done about it. */
export function hungCause(silentMs: number, done: 'replaced' | 'given up'): ExitCause {
  const message = `The engine gave no sign of life for ${Math.round(silentMs)} ms and was ${done}.`;
  return { name: 'hung', message, final: false };
}

/** The cause of an engine that was replaced on purpose. */
export function plannedCause(name: PlannedCauseName): ExitCause {
  return name === 'memory_limit'
    ? { name, message: 'The engine reached its memory limit and was replaced.', final: false }
    : { name: 'replaced', message: 'The engine was replaced by a fresh one.', final: false };
}

/** What requests are told whose engine ended for that cause. */
export function lossBy(cause: ExitCause): LlameroError {
  return new LlameroError('engine_error', cause.message, { details: { cause: cause.name, engineEnded: true } });
}
