import type { Counts } from '../../../../testing/leak/live-counts.ts';
import type { EngineUrls } from './engines.ts';
import type { Tally } from './tally.ts';

/** What a workload is given. */
export interface WorkloadContext {
  readonly urls: EngineUrls;
  /** The tiny model, for engines that the workload starts itself. */
  readonly model: string;
  /** Where it counts what came out. */
  readonly tally: Tally;
}

/** A workload with everything it needs, until it is closed. */
export interface OpenWorkload {
  /** Does it once. */
  run(unit: number): Promise<unknown>;
  /** What must not grow meanwhile, beside all that is counted anyway. */
  counts?(): Counts;
  close?(): Promise<unknown>;
}

/** What is done over and over. */
export type Workload = (context: WorkloadContext) => OpenWorkload | Promise<OpenWorkload>;
