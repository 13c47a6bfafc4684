import type { Figure } from './report.ts';

/** What a benchmark is given. */
export interface BenchContext {
  readonly rounds: number;
  /** A shorter run for a first look: fewer requests, streams and rounds. */
  readonly quick: boolean;
  readonly random: () => number;
  /** Says what is going on, for a person who waits. */
  readonly progress: (text: string) => void;
}

/** One benchmark. */
export interface Benchmark {
  readonly name: string;
  /** What it finds out, in one line. */
  readonly summary: string;
  /** @throws Skipped when this machine lacks something it needs. */
  run(context: BenchContext): Promise<Figure[]>;
}

/** A benchmark cannot run here; the message says why. */
export class Skipped extends Error {
  override readonly name = 'Skipped';
}
