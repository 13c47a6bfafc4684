import type { Config } from '../config.ts';
import { LlameroError } from '../errors.ts';
import type { CircuitStateName } from '../events.ts';
import { outcomeOf } from './outcome.ts';

/** What is advised while the trial requests of a half-open circuit are under way: how long they take is not known. */
const TRIAL_RETRY_AFTER_MS = 1000;

interface Closed {
  readonly name: 'closed';
  /** Failures since the last success. */
  failures: number;
}

interface Open {
  readonly name: 'open';
  /** From when on trial requests are let through, in ms of the clock. */
  readonly halfOpenAt: number;
  readonly cause: string;
}

interface HalfOpen {
  readonly name: 'half-open';
  /** Trial requests under way. */
  inFlight: number;
  successes: number;
  readonly cause: string;
}

/** Each state carries only its own data. The object is its identity: what was let through in another one is late. */
type State = Closed | Open | HalfOpen;

/**
 * Leave to send one request, and the duty to tell how it ended. The first call counts; every later one, and any that
 * comes when the circuit has changed its state meanwhile, changes nothing.
 */
export interface BreakerPass {
  /** The whole answer came. */
  succeed(): void;
  /** The engine failed. */
  fail(error: LlameroError): void;
  /** Nothing can be said about the engine; a trial's place goes to the next request. */
  forget(): void;
  /** One of the three, as {@link outcomeOf} says; null: the whole answer came. */
  settle(error: LlameroError | null): void;
}

/**
 * The circuit breaker of one engine (Nygard, "Release It!").
 *
 * - `closed`: all requests pass. `failureThreshold` failures without a success between them open it.
 * - `open`: none passes, for `resetTimeout` ms.
 * - `half-open`: at most `halfOpenRequests` at once pass as trials. So many successes close it, the first failure opens it again.
 *
 * An outcome counts when the answer has **ended**, and only in the state in which its request was let through.
 *
 * It is for an engine that is there and does not work: one that answers `/health` but fails requests, above all one that
 * somebody else runs and nobody restarts. It is not for an engine that died: four requests in flight at a crash are four
 * failures, but the supervisor replaces that engine and verifies the new one. So {@link reset} is called for every new
 * generation that became ready, and the failures of the old one, late ones included, do not hold up the recovery.
 */
export class CircuitBreaker {
  readonly #config: Config['circuitBreaker'];
  readonly #onChange: (from: CircuitStateName, to: CircuitStateName, cause: string | null) => void;
  readonly #now: () => number;
  #state: State = { name: 'closed', failures: 0 };

  /**
   * @param onChange called after each change; `cause` is the error code that opened the circuit, otherwise null.
   * @param now a monotonic clock in ms.
   */
  constructor(
    config: Config['circuitBreaker'],
    onChange: (from: CircuitStateName, to: CircuitStateName, cause: string | null) => void,
    now: () => number = () => performance.now(),
  ) {
    this.#config = config;
    this.#onChange = onChange;
    this.#now = now;
  }

  /** For display. `half-open` from the moment at which a request would be let through as a trial. */
  get state(): CircuitStateName {
    const state = this.#state;
    return state.name === 'open' && this.#now() >= state.halfOpenAt ? 'half-open' : state.name;
  }

  /**
   * Asks to send one request now. Whoever gets a pass has to settle it, however the request ends.
   * @throws LlameroError `circuit_open` with `retryAfterMs`: the time until trials are let through.
   */
  enter(): BreakerPass {
    this.check();
    let state = this.#state;
    if (state.name === 'open') {
      state = { name: 'half-open', inFlight: 0, successes: 0, cause: state.cause };
      this.#become(state, null);
    }
    if (state.name === 'half-open') state.inFlight += 1;
    return new Pass(this.#record, state);
  }

  /** Throws as {@link enter} would, without taking anything: for refusing early what would only wait to be refused. */
  check(): void {
    const state = this.#state;
    if (state.name === 'closed') return;
    if (state.name === 'open') {
      const leftMs = state.halfOpenAt - this.#now();
      if (leftMs > 0) throw circuitOpen(state.cause, Math.ceil(leftMs));
    } else if (state.inFlight >= this.#config.halfOpenRequests) throw circuitOpen(state.cause, TRIAL_RETRY_AFTER_MS);
  }

  /** A new generation of the engine became ready: nothing that is known holds for it. */
  reset(): void {
    const closed: Closed = { name: 'closed', failures: 0 };
    if (this.#state.name === 'closed') this.#state = closed;
    else this.#become(closed, null);
  }

  /** One function for all passes, so that none is made per request. */
  readonly #record: RecordEnd = (admittedIn, error, counts) => {
    const state = this.#state;
    if (state !== admittedIn || state.name === 'open') return;
    if (state.name === 'half-open') state.inFlight -= 1;
    if (!counts) return;
    if (error === null) this.#succeeded(state);
    else this.#failed(state, error.code);
  };

  #succeeded(state: Closed | HalfOpen): void {
    if (state.name === 'closed') {
      state.failures = 0;
      return;
    }
    state.successes += 1;
    if (state.successes >= this.#config.halfOpenRequests) this.#become({ name: 'closed', failures: 0 }, null);
  }

  #failed(state: Closed | HalfOpen, cause: string): void {
    if (state.name === 'closed') {
      state.failures += 1;
      if (state.failures < this.#config.failureThreshold) return;
    }
    this.#become({ name: 'open', halfOpenAt: this.#now() + this.#config.resetTimeout, cause }, cause);
  }

  #become(next: State, cause: string | null): void {
    const from = this.#state.name;
    this.#state = next;
    this.#onChange(from, next.name, cause);
  }
}

/** How a request ended that was let through in `admittedIn`. */
type RecordEnd = (admittedIn: State, error: LlameroError | null, counts: boolean) => void;

class Pass implements BreakerPass {
  readonly #record: RecordEnd;
  /** null once it was told how the request ended. */
  #admittedIn: State | null;

  constructor(record: RecordEnd, admittedIn: State) {
    this.#record = record;
    this.#admittedIn = admittedIn;
  }

  succeed(): void {
    this.#end(null, true);
  }

  fail(error: LlameroError): void {
    this.#end(error, true);
  }

  forget(): void {
    this.#end(null, false);
  }

  settle(error: LlameroError | null): void {
    this.#end(error, outcomeOf(error) !== 'neutral');
  }

  #end(error: LlameroError | null, counts: boolean): void {
    const state = this.#admittedIn;
    if (state === null) return;
    this.#admittedIn = null;
    this.#record(state, error, counts);
  }
}

function circuitOpen(cause: string, retryAfterMs: number): LlameroError {
  return new LlameroError(
    'circuit_open',
    `The engine failed too often (${cause}); requests are held off for a while.`,
    {
      retryAfterMs,
      details: { cause },
    },
  );
}
