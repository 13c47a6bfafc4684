import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { LeakReport } from '../../../../testing/index.ts';
import type { EngineUrls } from './engines.ts';
import type { HeldKind, HeldMemory } from './held-memory.ts';
import type { MeasurementName } from './measurements.ts';

/** Workloads to repeat. */
export interface RepeatJob {
  readonly repeat: MeasurementName;
  readonly urls: EngineUrls;
  /** The tiny model, for engines that a workload starts itself. */
  readonly model: string;
}

/** What came of it. */
export interface Repeated {
  readonly report: LeakReport;
  /** What came out of the requests, and how often. */
  readonly outcomes: Readonly<Record<string, number>>;
}

/** Things to hold many of at once, one kind after the other. */
export interface HoldJob {
  readonly hold: readonly HeldKind[];
  readonly urls: EngineUrls;
}

const PROGRAM = fileURLToPath(new URL('measured-process.ts', import.meta.url));
/** V8 grows its space for young objects in steps of megabytes, in which growth of some KB would not show. */
const NODE_OPTIONS = ['--expose-gc', '--max-semi-space-size=1'];

/** Measures what repeated work leaves behind. @throws Error when the process fails, or the signal aborts. */
export async function repeatApart(job: RepeatJob, signal: AbortSignal): Promise<Repeated> {
  return (await inProcess(job, signal)) as Repeated;
}

/** Measures what each costs of many at once, in the order of `hold`. @throws Error when the process fails, or the signal aborts. */
export async function holdApart(job: HoldJob, signal: AbortSignal): Promise<HeldMemory[]> {
  return (await inProcess(job, signal)) as HeldMemory[];
}

async function inProcess(job: RepeatJob | HoldJob, signal: AbortSignal): Promise<unknown> {
  const child = fork(PROGRAM, [JSON.stringify(job)], { execArgv: NODE_OPTIONS, signal, killSignal: 'SIGKILL' });
  const messages: unknown[] = [];
  child.on('message', (message) => messages.push(message));
  const [code, killed] = (await once(child, 'exit')) as [number | null, string | null];
  if (messages.length === 0) throw new Error(`Measuring ended without a result: ${code ?? killed}`);
  return messages[0];
}
