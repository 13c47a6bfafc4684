/**
 * A process that measures one workload and tells its parent the report: nothing else happens in it, whatever runs beside it, and what
 * other workloads left behind is not there.
 */
import { COUNTED_CLASSES } from './counted-classes.ts';
import type { MeasuredJob, MeasuredResult } from './measure-workload.ts';
import { Tally } from './tally.ts';
import { WORKLOADS } from './workloads.ts';

const { workload, urls, model } = JSON.parse(process.argv[2] ?? '') as MeasuredJob;
const tally = new Tally();
const measure = WORKLOADS[workload]({ urls, model, tally });
const report = await measure({ name: workload, classes: COUNTED_CLASSES });
const result: MeasuredResult = { report, outcomes: tally.counts };
process.send?.(result, () => process.disconnect());
