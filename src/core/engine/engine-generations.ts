import { LlameroError } from '../errors.ts';
import type { AlongsideEngine } from './engine-endpoint.ts';
import type { ExitCause } from './exit-cause.ts';
import { GenerationEnds } from './generation-ends.ts';
import type { SupervisedGeneration } from './supervised-generation.ts';
import { lossBy } from './unavailable.ts';

/** The exit of a process is known a moment after its sockets have closed. */
const EXPLAIN_LOSS_MS = 500;

/** Every generation whose process, or remains, exist; and why the latest others ended. */
export class EngineGenerations {
  readonly #living = new Map<number, SupervisedGeneration>();
  readonly #ends = new GenerationEnds();

  get living(): ReadonlyMap<number, SupervisedGeneration> {
    return this.#living;
  }

  get(generation: number): SupervisedGeneration | undefined {
    return this.#living.get(generation);
  }

  add(engine: SupervisedGeneration): void {
    this.#living.set(engine.generation, engine);
  }

  /** Its process has ended; its remains exist still. */
  noteEnd(generation: number, cause: ExitCause): void {
    this.#ends.note(generation, cause);
  }

  /** Nothing is left of it. */
  delete(engine: SupervisedGeneration): void {
    this.#living.delete(engine.generation);
  }

  /** Why a generation ended; null while it lives, or when it is long gone. */
  causeOf(generation: number): ExitCause | null {
    return this.#ends.causeOf(generation);
  }

  /** Why requests to that generation broke: waits shortly for its exit, which tells more than its sockets do. */
  async explainLoss(generation: number): Promise<LlameroError> {
    const engine = this.#living.get(generation);
    if (engine !== undefined) {
      if (engine.knownLoss !== null) return engine.knownLoss;
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, EXPLAIN_LOSS_MS);
      });
      await Promise.race([engine.ended, timeout]);
      clearTimeout(timer);
      // `ended` wakes this function and the owner alike; the owner's note of the cause comes one turn later.
      await new Promise(setImmediate);
    }
    const cause = this.causeOf(generation);
    return cause === null ? new LlameroError('engine_error', 'The connection to the engine broke.') : lossBy(cause);
  }

  /** The engines beside the one that the state is about. */
  alongside(serving: number): AlongsideEngine[] {
    const others = [...this.#living.values()].filter(({ generation }) => generation !== serving);
    return others.map(({ generation, pid, isStopping }) => {
      const state = isStopping ? 'stopping' : generation > serving ? 'starting' : 'draining';
      return { generation, state, pid };
    });
  }
}
