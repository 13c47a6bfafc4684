import { measureLeak, type LeakReport, type MeasureLeakOptions } from '../../../../testing/index.ts';
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

/** What all measurements have in common. */
export type CommonOptions = Pick<MeasureLeakOptions<unknown>, 'name' | 'classes'>;

/** A workload that is set up; whatever it has as its subject, it is measured by calling it. */
export type Measurement = (common: CommonOptions) => Promise<LeakReport>;

/** What is done over and over. */
export type Workload = (context: WorkloadContext) => Measurement;

/** A unit is several requests; the requirements allow 10 KB of heap for each, and 5 MB of all memory for 1,000. */
const LIMITS = { heap: 4096, external: 4096, anonymous: 20_480 };

/** A measurement with these options. */
export function measurement<Subject>(options: MeasureLeakOptions<Subject>): Measurement {
  const limits = { ...LIMITS, ...options.limits };
  return (common) => measureLeak({ unitsPerBatch: 25, warmupBatches: 2, ...common, ...options, limits });
}
