/**
 * A process that measures one thing and tells its parent: nothing else happens in it, whatever runs beside it, and what
 * other measurements left behind is not there.
 */
import { COUNTED_CLASSES } from './counted-classes.ts';
import { measureHeld } from './held-memory.ts';
import type { MeasuredJob } from './measure-apart.ts';
import { Tally } from './tally.ts';
import { WORKLOADS } from './workloads.ts';

const job = JSON.parse(process.argv[2] ?? '') as MeasuredJob;
process.send?.(await measure(job), () => process.disconnect());

async function measure(asked: MeasuredJob): Promise<unknown> {
  if ('held' in asked) return measureHeld(asked.held, asked.urls);
  const tally = new Tally();
  const run = WORKLOADS[asked.workload]({ urls: asked.urls, model: asked.model, tally });
  const report = await run({ name: asked.workload, classes: COUNTED_CLASSES });
  return { report, outcomes: tally.counts };
}
