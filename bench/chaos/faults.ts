import { setTimeout as sleep } from 'node:timers/promises';
import type { Ledger } from './ledger.ts';
import { type Fault, faultPlan } from './plan.ts';
import { IDLE_MS, type Serve } from './serve.ts';

const BACK_MS = 30_000;
const TOKEN_MS = 10_000;
/** Beyond `timeouts.idle`: a second as promised, one until the next request comes, and what a busy machine takes. */
const NOTICE_SLACK_MS = 4000;

/** Kills and freezes the engine as planned, until the signal. */
export async function tormentEngine(
  serve: Serve,
  ledger: Ledger,
  plan: { seed: number; everyMs: readonly [number, number] },
  signal: AbortSignal,
): Promise<void> {
  for (const fault of faultPlan(plan.seed, plan.everyMs)) {
    await sleep(fault.afterMs, null, { signal }).catch(() => null);
    if (signal.aborted) return;
    await strike(serve, ledger, fault);
  }
}

async function strike(serve: Serve, ledger: Ledger, { signal }: Fault): Promise<void> {
  const { pid, generation, state } = await serve.status();
  if (pid === null || state !== 'ready') return;
  const at = ledger.faultBegins();
  try {
    process.kill(pid, signal);
  } catch {
    // It ended between the look and the kill, by itself: the log of the run shows why.
    return;
  }
  const next = await serve.log.readyAfter(generation, BACK_MS);
  const lostAt = serve.log.engines.find((engine) => engine.generation === generation)?.lostAt ?? null;
  const noticedMs = lostAt === null ? null : lostAt - at;
  if (next === null) ledger.violation(`the engine did not come back after ${signal}`);
  if (signal === 'SIGSTOP' && noticedMs !== null && noticedMs > IDLE_MS + NOTICE_SLACK_MS) {
    ledger.violation(`a frozen engine was noticed after ${Math.round(noticedMs)} ms only`);
  }
  const came = next !== null && (await ledger.nextToken(TOKEN_MS));
  if (next !== null && !came) ledger.violation(`no token within ${TOKEN_MS} ms of the engine being back`);
  ledger.faultEnded({ signal, generation, noticedMs, recoveredMs: came ? performance.now() - at : null }, at);
}
