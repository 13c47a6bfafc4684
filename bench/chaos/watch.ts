import { setTimeout as sleep } from 'node:timers/promises';
import { engineCounters } from './engine-view.ts';
import type { Ledger } from './ledger.ts';
import type { Serve } from './serve.ts';

/** Asking oftener than once a second would keep llama-server from noticing that the client of a whole answer has gone. */
const SAMPLE_MS = 2000;
/** What llamero may have resident, in MB: Node itself takes about a third of it. */
const RESIDENT_LIMIT_MB = 400;

/** Samples llamero's memory and the engine's own queue until the signal; `onSample` is called each time. */
export async function watch(serve: Serve, ledger: Ledger, signal: AbortSignal, onSample: () => void): Promise<void> {
  while (!signal.aborted) {
    if (serve.end !== null) {
      ledger.violation(`llamero itself ended: ${serve.end}\n${serve.log.tail.join('\n')}`);
      return;
    }
    const residentMb = await serve.residentMb();
    if (residentMb !== null) ledger.residentMb.push(residentMb);
    if (residentMb !== null && residentMb > RESIDENT_LIMIT_MB) ledger.violation(`llamero takes ${residentMb} MB`);
    await sampleQueue(serve, ledger);
    onSample();
    await sleep(SAMPLE_MS, null, { signal }).catch(() => null);
  }
}

/** The engine's own queue has to be empty at any time. One that is frozen or gone is not asked in vain for long. */
export async function sampleQueue(serve: Serve, ledger: Ledger): Promise<void> {
  const engine = serve.log.engines.at(-1);
  if (engine?.socketPath == null || engine.readyAt === null || engine.lostAt !== null) return;
  const counters = await engineCounters(engine.socketPath);
  if (counters === null) return;
  ledger.deferred.samples += 1;
  ledger.deferred.most = Math.max(ledger.deferred.most, counters.deferred);
  if (counters.deferred > 0) ledger.violation(`${counters.deferred} requests wait in the engine's own queue`);
}
