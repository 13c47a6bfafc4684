import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { LeakReport } from '../../../../testing/index.ts';
import type { EngineUrls } from './engines.ts';
import type { HeldMemory, HOLDERS } from './held-memory.ts';
import type { WorkloadContext } from './workload.ts';
import type { WorkloadName } from './workloads.ts';

/** What a measuring process is told: a workload to measure, or something to hold. */
export type MeasuredJob =
  | ({ readonly workload: WorkloadName } & Omit<WorkloadContext, 'tally'>)
  | { readonly held: keyof typeof HOLDERS; readonly urls: EngineUrls };

/** What it tells of a workload. */
export interface MeasuredWorkload {
  readonly report: LeakReport;
  /** What came out of the requests, and how often. */
  readonly outcomes: Readonly<Record<string, number>>;
}

const PROGRAM = fileURLToPath(new URL('measured-process.ts', import.meta.url));
/** V8 grows its space for young objects in steps of megabytes, in which growth of some KB would not show. */
const NODE_OPTIONS = ['--expose-gc', '--max-semi-space-size=1'];

/** Measures in a process of its own. @throws Error when that process fails, or the signal aborts. */
export async function measureApart<Job extends MeasuredJob>(
  job: Job,
  signal: AbortSignal,
): Promise<Job extends { workload: unknown } ? MeasuredWorkload : HeldMemory> {
  const child = fork(PROGRAM, [JSON.stringify(job)], { execArgv: NODE_OPTIONS, signal, killSignal: 'SIGKILL' });
  const messages: unknown[] = [];
  child.on('message', (message) => messages.push(message));
  const [code, killed] = (await once(child, 'exit')) as [number | null, string | null];
  if (messages.length === 0) throw new Error(`Measuring ended without a result: ${code ?? killed}`);
  return messages[0] as Awaited<ReturnType<typeof measureApart<Job>>>;
}
