/**
 * One error class and one table of codes. Every failure that a caller of llamero can see carries one of these codes,
 * in the library as `error.code`, over HTTP as `error.code` in the body.
 */

interface ErrorDefinition {
  /** HTTP status of the answer. */
  status: number;
  /** The `type` field of an OpenAI error body. */
  type: string;
  /** Whether the same request may succeed when it is sent again later. */
  retryable: boolean;
  /** One sentence for the documentation. */
  meaning: string;
}

/** Every error code, with what it means to HTTP, to OpenAI clients and to a caller that wonders about a retry. */
export const ERROR_CODES = {
  invalid_request: define(
    400,
    'invalid_request_error',
    false,
    'The request is malformed: not JSON, not UTF-8, a wrong field, conflicting headers.',
  ),
  invalid_options: define(
    400,
    'invalid_request_error',
    false,
    'An option or configuration key is unknown, of the wrong type or impossible.',
  ),
  invalid_api_key: define(401, 'authentication_error', false, 'No API key, or one that is not known.'),
  permission_denied: define(403, 'permission_error', false, 'The caller may not do this.'),
  not_found: define(404, 'not_found_error', false, 'There is no such route, or no such stream.'),
  method_not_allowed: define(405, 'invalid_request_error', false, 'The route exists, but not for this HTTP method.'),
  model_not_found: define(404, 'not_found_error', false, 'There is no such model; the message lists what there is.'),
  request_too_large: define(413, 'invalid_request_error', false, 'The body or the headers are larger than the limit.'),
  request_timeout: define(408, 'invalid_request_error', true, 'The client sent its request too slowly.'),
  context_length_exceeded: define(
    400,
    'invalid_request_error',
    false,
    'The prompt is longer than the context of a slot.',
  ),
  rate_limit_exceeded: define(
    429,
    'rate_limit_error',
    true,
    'The caller reached a limit of its own; the message says which and when it ends.',
  ),
  rate_limits_unavailable: define(
    503,
    'overloaded_error',
    true,
    'The store of the rate limits cannot be reached, and the configuration says to refuse requests meanwhile.',
  ),
  queue_full: define(503, 'overloaded_error', true, 'Too many requests are waiting already.'),
  queue_timeout: define(503, 'overloaded_error', true, 'No slot became free within the time a request may wait.'),
  memory_pressure: define(503, 'overloaded_error', true, 'llamero is near its memory limit and takes no new requests.'),
  engine_starting: define(503, 'engine_error', true, 'The engine was not ready within the time a request may wait.'),
  engine_unavailable: define(503, 'engine_error', true, 'There is no working engine; the message names the cause.'),
  circuit_open: define(503, 'engine_error', true, 'The engine failed too often; requests are held off for a while.'),
  poisonous_request: define(
    422,
    'invalid_request_error',
    false,
    'This request ended the engine more than once and is refused for a while.',
  ),
  engine_error: define(502, 'engine_error', true, 'The engine failed while it worked on the request.'),
  engine_bad_response: define(502, 'engine_error', true, 'The engine answered something that is not a valid answer.'),
  stream_interrupted: define(502, 'engine_error', true, 'The engine was lost in the middle of a stream.'),
  stream_position_lost: define(
    410,
    'invalid_request_error',
    false,
    'The stream goes on, but what comes behind the position that was asked for is no longer held.',
  ),
  stream_taken_over: define(
    409,
    'invalid_request_error',
    false,
    'Another connection of the same client reads the stream now.',
  ),
  deadline_exceeded: define(504, 'timeout_error', true, 'A deadline passed; the message names the phase.'),
  already_running: define(
    409,
    'conflict_error',
    true,
    'Work of which there can be one at a time is under way already.',
  ),
  cancelled: define(499, 'cancelled', false, 'The caller cancelled the request.'),
  install_failed: define(
    500,
    'install_error',
    true,
    'llama-server or a model could not be installed; the message says what to do.',
  ),
  internal_error: define(500, 'internal_error', false, 'A defect in llamero.'),
} as const satisfies Record<string, ErrorDefinition>;

/** The closed set of codes: `switch (error.code)` narrows. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** What a {@link LlameroError} may carry beside code and message. */
export interface ErrorDetails {
  /** The request field or option at fault, as a path such as `messages[0].content`. */
  param?: string;
  /** Earliest useful time of another try, in ms from now; becomes `Retry-After` (whole seconds, rounded up). */
  retryAfterMs?: number;
  /** Overrides the status of the code, for engine answers whose own status says more. */
  status?: number;
  /** Machine-readable facts: the phase, the limit, the exit cause. Never paths, keys or prompts when it crosses HTTP. */
  details?: Record<string, unknown>;
  cause?: unknown;
}

/** The only error class that llamero throws to its callers. Foreign errors are wrapped once, where they are understood. */
export class LlameroError extends Error {
  override readonly name = 'LlameroError';
  readonly code: ErrorCode;
  readonly status: number;
  readonly type: string;
  readonly retryable: boolean;
  readonly param: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly details: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, options: ErrorDetails = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    const definition = ERROR_CODES[code];
    this.code = code;
    this.status = options.status ?? definition.status;
    this.type = definition.type;
    this.retryable = definition.retryable;
    this.param = options.param;
    this.retryAfterMs = options.retryAfterMs;
    this.details = options.details ?? {};
  }
}

/** Whatever was thrown, as a {@link LlameroError}; an unknown error becomes `internal_error` with the original as `cause`. */
export function toLlameroError(thrown: unknown): LlameroError {
  if (thrown instanceof LlameroError) return thrown;
  return new LlameroError('internal_error', 'Unexpected failure inside llamero.', { cause: thrown });
}

function define(status: number, type: string, retryable: boolean, meaning: string): ErrorDefinition {
  return { status, type, retryable, meaning };
}
