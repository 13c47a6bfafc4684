import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { LeakReport } from '../../../../testing/index.ts';
import type { WorkloadContext } from './workload.ts';
import type { WorkloadName } from './workloads.ts';

/** What a measuring process is told. */
export interface MeasuredJob extends Omit<WorkloadContext, 'tally'> {
  readonly workload: WorkloadName;
}

/** What it tells. */
export interface MeasuredResult {
  readonly report: LeakReport;
  /** What came out of the requests, and how often. */
  readonly outcomes: Readonly<Record<string, number>>;
}

const PROGRAM = fileURLToPath(new URL('measured-process.ts', import.meta.url));
/** V8 grows its space for young objects in steps of megabytes, in which growth of some KB would not show. */
const NODE_OPTIONS = ['--expose-gc', '--max-semi-space-size=1'];

/** Measures a workload in a process of its own. @throws Error when that process fails. */
export async function measureWorkload(job: MeasuredJob, signal: AbortSignal): Promise<MeasuredResult> {
  const child = fork(PROGRAM, [JSON.stringify(job)], { execArgv: NODE_OPTIONS, signal, killSignal: 'SIGKILL' });
  let result: MeasuredResult | null = null;
  child.on('message', (message) => (result = message as MeasuredResult));
  const [code, killed] = (await once(child, 'exit')) as [number | null, string | null];
  if (result === null) throw new Error(`Measuring '${job.workload}' ended without a result: ${code ?? killed}`);
  return result;
}
