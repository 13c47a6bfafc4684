/**
 * A process that measures one thing and tells its parent: nothing else happens in it, whatever runs beside it, and what
 * other measurements left behind is not there. It ends by itself when nothing is left open.
 */
import assert from 'node:assert';
import { measureLeak } from '../../../../testing/index.ts';
import { COUNTED_CLASSES } from './counted-classes.ts';
import { type HeldMemory, measureHeld } from './held-memory.ts';
import type { HoldJob, RepeatJob, Repeated } from './measure-apart.ts';
import { type MeasurementPlan, MEASUREMENTS, SETTINGS } from './measurements.ts';
import { Tally } from './tally.ts';
import type { OpenWorkload, WorkloadContext } from './workload.ts';

// The first assertion that fails anywhere, within undici too, makes Node load a parser for its message: no leak, but hundreds of objects.
try {
  assert.ok(process.pid === 0);
} catch {
  // It is there now.
}

const job = JSON.parse(process.argv[2] ?? '') as RepeatJob | HoldJob;
process.send?.('repeat' in job ? await repeat(job) : await hold(job), () => process.disconnect());

async function repeat({ repeat: name, urls, model }: RepeatJob): Promise<Repeated> {
  const tally = new Tally();
  const plan: MeasurementPlan = MEASUREMENTS[name];
  const report = await measureLeak({
    ...SETTINGS,
    ...plan.settings,
    name,
    classes: COUNTED_CLASSES,
    open: () => openAll(plan, { urls, model, tally }),
    run: async (open, unit) => {
      for (const workload of open) await workload.run(unit);
    },
    counts: (open) => Object.fromEntries(open.flatMap((workload) => Object.entries(workload.counts?.() ?? {}))),
    close: async (open) => {
      for (const workload of open) await workload.close?.();
    },
  });
  return { report, outcomes: tally.counts };
}

async function openAll({ workloads }: MeasurementPlan, context: WorkloadContext): Promise<OpenWorkload[]> {
  const open: OpenWorkload[] = [];
  for (const workload of workloads) open.push(await workload(context));
  return open;
}

async function hold({ hold: kinds, urls }: HoldJob): Promise<HeldMemory[]> {
  const held: HeldMemory[] = [];
  for (const kind of kinds) held.push(await measureHeld(kind, urls));
  return held;
}
