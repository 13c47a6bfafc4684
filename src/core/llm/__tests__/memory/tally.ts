import { LlameroError } from '../../../errors.ts';

/** How often something came out of a workload: proof that it did what its name says. */
export class Tally {
  readonly counts: Record<string, number> = {};

  add(outcome: string): void {
    this.counts[outcome] = (this.counts[outcome] ?? 0) + 1;
  }

  /** Counts how a request ended: `ok`, or the code of its error. Other errors are thrown on. */
  async of(request: Promise<unknown>): Promise<void> {
    try {
      await request;
      this.add('ok');
    } catch (error) {
      if (!(error instanceof LlameroError)) throw error;
      this.add(error.code);
    }
  }
}
