import type { EngineConfig } from '../config.ts';
import { toLlameroError } from '../errors.ts';
import type { LlameroEmitter } from '../events.ts';
import type { EngineFacts } from './engine-endpoint.ts';
import type { EngineProcessEnd } from './engine-process.ts';
import { type EngineLaunch, EngineRun } from './engine-run.ts';
import type { ExitCause } from './exit-cause.ts';
import { StartupStalled } from './startup.ts';

const PORT_ATTEMPTS = 10;

/** What one generation is made of, and whom it tells. */
export interface GenerationOptions {
  readonly generation: number;
  readonly launch: EngineLaunch;
  readonly config: EngineConfig;
  readonly env: NodeJS.ProcessEnv;
  readonly events: LlameroEmitter;
  /** A process was spawned, once for each port that is tried. */
  readonly onRun: (run: EngineRun) => void;
  readonly onReady: (run: EngineRun, facts: EngineFacts) => void;
  /** The process ended; names the cause, and makes it known. */
  readonly onEnd: (end: EngineProcessEnd, startupTimedOut: boolean) => ExitCause;
}

/**
 * Runs one generation until its process ends, moving on to other ports while they are taken.
 * @param signal ends it while it is not ready yet.
 * @returns the cause of its end.
 */
export async function runGeneration(options: GenerationOptions, signal: AbortSignal): Promise<ExitCause> {
  const { config, onRun, onReady, onEnd, ...launching } = options;
  let port: number | null = null;
  for (let attempt = 1; ; attempt++) {
    const run: EngineRun = await EngineRun.spawn({ ...launching, config, port });
    onRun(run);
    // The stop may have come while the process was being spawned, when there was nothing to terminate yet.
    if (signal.aborted) void run.terminate(toLlameroError(signal.reason));
    const verifying = new AbortController();
    const whileStarting = AbortSignal.any([signal, verifying.signal]);
    const stalled = verify(run, config.startupTimeout, whileStarting, (facts) => onReady(run, facts));
    const end = await run.ended;
    verifying.abort();
    const cause = onEnd(end, await stalled);
    if (cause.name !== 'port_taken' || attempt === PORT_ATTEMPTS || signal.aborted) return cause;
    await run.clear();
    port = config.port === 'auto' ? null : config.port + attempt;
  }
}

/** @returns whether the start was given up for lack of progress. */
async function verify(
  run: EngineRun,
  stallMs: number,
  signal: AbortSignal,
  onReady: (facts: EngineFacts) => void,
): Promise<boolean> {
  try {
    onReady(await run.verified(stallMs, signal));
    return false;
  } catch (error) {
    if (signal.aborted) return false;
    // Any other failure to verify is as good as no progress: the process is ended and the cause is told.
    run.process.kill('SIGKILL');
    return error instanceof StartupStalled;
  }
}
