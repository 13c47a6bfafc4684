import { setTimeout as sleep } from 'node:timers/promises';
import { CPU_TICK_MS, type ProcessWork, processWork } from './process-work.ts';
import type { ProbeTarget } from './probe.ts';

/** Share of one core, over the time of the look, from which on a process works. */
const BUSY_CPU_SHARE = 0.05;

/** How far one slot of the engine has come; any change is a sign of life. */
export interface SlotProgress {
  readonly busy: boolean;
  /** Number of the task in it, or of the latest one; null before the first. */
  readonly task: number | null;
  /** Prompt tokens read and tokens generated for that task. */
  readonly tokens: number;
}

/** What a look at an engine showed. */
export interface VitalSigns {
  /** By slot id. null: no answer within the limit, or the engine does not tell (`--no-slots`). */
  readonly slots: readonly SlotProgress[] | null;
  /** What the process did meanwhile: `frozen` by SIGSTOP or a debugger; `unknown` where the system does not tell. */
  readonly process: 'frozen' | 'idle' | 'busy' | 'unknown';
}

/**
 * Looks whether an engine lives: asks `/slots`, which goes through its task queue, unlike `/health`, and watches the process
 * meanwhile. In llama.cpp v0.5.0 `/slots` is answered during a long batch as well (`server_queue::yield_to_queue`), so an
 * answer alone proves little: the counters in it have to advance. Takes `limitMs` at most, and far less where there is an answer.
 * @param pid null when the process is somebody else's.
 */
export async function takeVitalSigns(target: ProbeTarget, pid: number | null, limitMs: number): Promise<VitalSigns> {
  const before = pid === null ? null : await processWork(pid);
  if (isFrozen(before)) return { slots: null, process: 'frozen' };
  const startedAt = performance.now();
  const slots = await askSlots(target, limitMs);
  if (slots !== null) return { slots, process: 'unknown' };
  // Too short a time holds too few ticks to judge by: where the answer was a refusal, the rest of it is waited for.
  await sleep(Math.max(0, limitMs - (performance.now() - startedAt)));
  const after = pid === null ? null : await processWork(pid);
  return { slots, process: workBetween(before, after, performance.now() - startedAt) };
}

/** What a process did between two samples. Pure. */
export function workBetween(
  before: ProcessWork | null,
  after: ProcessWork | null,
  elapsedMs: number,
): VitalSigns['process'] {
  if (isFrozen(after)) return 'frozen';
  if (before === null || after === null || after.state === 'Z') return 'unknown';
  // Weights that are read from a disk, mapped as they are, cost hardly any CPU time.
  if (after.state === 'D' || after.majorFaults > before.majorFaults) return 'busy';
  return after.cpuMs - before.cpuMs >= Math.max(2 * CPU_TICK_MS, BUSY_CPU_SHARE * elapsedMs) ? 'busy' : 'idle';
}

function isFrozen(work: ProcessWork | null): boolean {
  return work !== null && (work.state === 'T' || work.state === 't');
}

async function askSlots(target: ProbeTarget, limitMs: number): Promise<readonly SlotProgress[] | null> {
  try {
    const { statusCode, body } = await target.dispatcher.request({
      path: '/slots',
      method: 'GET',
      headers: target.headers,
      signal: AbortSignal.timeout(limitMs),
    });
    const text = await body.text();
    return statusCode === 200 ? parseSlots(text) : null;
  } catch {
    // No answer in time, or no connection: both are what the look is for.
    return null;
  }
}

interface SlotDocument {
  readonly is_processing?: boolean;
  readonly id_task?: number;
  readonly n_prompt_tokens_processed?: number;
  readonly next_token?: readonly { readonly n_decoded?: number }[];
}

/** Reads the answer of `/slots` (`server_slot::to_json` in `tools/server/server-context.cpp`); null when it is none. */
export function parseSlots(text: string): readonly SlotProgress[] | null {
  let slots: unknown;
  try {
    slots = JSON.parse(text);
  } catch {
    // Something else than a llama-server answered.
    return null;
  }
  if (!Array.isArray(slots)) return null;
  return (slots as SlotDocument[]).map((slot) => ({
    busy: slot.is_processing === true,
    task: slot.id_task ?? null,
    tokens: (slot.n_prompt_tokens_processed ?? 0) + (slot.next_token?.[0]?.n_decoded ?? 0),
  }));
}
