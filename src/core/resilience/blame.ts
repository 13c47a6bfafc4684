import type { ExitCauseName } from '../events.ts';

/**
 * Whether a request that was in flight may have caused an end of the engine. Blaming the innocent means refusing them, so
 * what somebody did from outside, or llamero itself, is not counted.
 */
const BLAMED: Readonly<Record<ExitCauseName, boolean>> = {
  // The engine's own code failed while it worked.
  segmentation_fault: true,
  assertion: true,
  illegal_instruction: true,
  hung: true,
  // A working llama-server does not exit when asked to by SIGTERM: it did so by itself. On Windows a crash may look like this too.
  exit: true,
  // A long prompt or a large image takes memory that loading the model did not.
  out_of_memory: true,
  killed_by_system: true,
  // SIGKILL without the OOM killer: somebody's hand. Only Linux tells the two apart; elsewhere a poison that works by
  // memory stays unnoticed, which is better than refusing what was in flight when somebody ended the engine.
  killed: false,
  // SIGTERM, SIGHUP and the like come from outside.
  signal: false,
  // llamero's own doing.
  stopped: false,
  memory_limit: false,
  replaced: false,
  // Of an engine that somebody else runs, it is not known whether it died, was restarted, or the network failed.
  unreachable: false,
  // Starts that failed: no request was there yet.
  model_missing: false,
  model_not_gguf: false,
  model_unknown_architecture: false,
  model_invalid: false,
  port_taken: false,
  wrong_option: false,
  not_executable: false,
  not_prepared: false,
  startup_timeout: false,
};

/** Whether the requests that were in flight at such an end of the engine become suspects. Pure; a name that is unknown is not blamed. */
export function isBlamedOnRequests(cause: unknown): boolean {
  return typeof cause === 'string' && Object.hasOwn(BLAMED, cause) && BLAMED[cause as ExitCauseName];
}

/** Whether that end of an engine was llamero's own plan, so that its requests have moved, and count nothing as lost. Pure. */
export function isPlannedEnd(cause: unknown): boolean {
  return cause === 'replaced' || cause === 'memory_limit';
}
