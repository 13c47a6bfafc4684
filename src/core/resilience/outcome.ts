import type { ErrorCode, LlameroError } from '../errors.ts';
import { blamesEngine } from './deadlines.ts';

/** What the end of a request says about its engine: it works, it failed, or nothing. */
export type EngineOutcome = 'success' | 'failure' | 'neutral';

/** The engine had the request and did not do its work. */
const FAILURE = 'failure';
/** Says nothing about how the engine works: the caller's doing, llamero's own limits, or an engine that was not asked. */
const NEUTRAL = 'neutral';

/** Every code, so that a new one cannot be forgotten. */
const OUTCOMES: Readonly<Record<ErrorCode, EngineOutcome | 'by-phase'>> = {
  // The caller's doing, found by llamero or by the engine.
  invalid_request: NEUTRAL,
  invalid_options: NEUTRAL,
  invalid_api_key: NEUTRAL,
  permission_denied: NEUTRAL,
  not_found: NEUTRAL,
  method_not_allowed: NEUTRAL,
  model_not_found: NEUTRAL,
  request_too_large: NEUTRAL,
  request_timeout: NEUTRAL,
  context_length_exceeded: NEUTRAL,
  poisonous_request: NEUTRAL,
  stream_position_lost: NEUTRAL,
  stream_taken_over: NEUTRAL,
  cancelled: NEUTRAL,
  // llamero's own limits; the engine did not see the request.
  rate_limit_exceeded: NEUTRAL,
  rate_limits_unavailable: NEUTRAL,
  queue_full: NEUTRAL,
  queue_timeout: NEUTRAL,
  memory_pressure: NEUTRAL,
  already_running: NEUTRAL,
  circuit_open: NEUTRAL,
  // Loading, or not there: the supervisor deals with that, and a breaker would only delay the recovery.
  engine_starting: NEUTRAL,
  engine_unavailable: NEUTRAL,
  install_failed: NEUTRAL,
  // A defect in llamero must not be paid for by the engine.
  internal_error: NEUTRAL,
  engine_error: FAILURE,
  engine_bad_response: FAILURE,
  stream_interrupted: FAILURE,
  deadline_exceeded: 'by-phase',
};

/**
 * What the circuit breaker makes of the end of a request; null: it was answered. Pure.
 *
 * A passed deadline counts by its phase: silence of the engine is its failure, while a caller that allows one millisecond
 * for the whole request must not be able to open the circuit for everybody.
 */
export function outcomeOf(error: LlameroError | null): EngineOutcome {
  if (error === null) return 'success';
  // An engine's own status may stand on any code.
  if (error.status >= 400 && error.status < 500) return NEUTRAL;
  const outcome = OUTCOMES[error.code];
  if (outcome !== 'by-phase') return outcome;
  return blamesEngine(error.details['phase']) ? FAILURE : NEUTRAL;
}
