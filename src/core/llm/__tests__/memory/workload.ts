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

/** A measurement with these options. */
export function measurement<Subject>(options: MeasureLeakOptions<Subject>): Measurement {
  return (common) => measureLeak({ ...common, ...options });
}
