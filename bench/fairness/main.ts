import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Skipped } from '../bench-context.ts';
import { describeMachine } from '../machine.ts';
import { renderTable } from '../report.ts';
import { misused, readOptions } from '../script-options.ts';
import { seededRandom } from '../statistics.ts';
import { measureOnEngine } from './on-engine.ts';
import { renderRuns } from './render-runs.ts';
import { SCHEDULERS } from './schedulers.ts';
import type { RunFigures } from './service-log.ts';
import { ENGINE, simulate } from './simulate.ts';
import { workloads } from './workloads.ts';

const USAGE = `npm run bench:fairness [-- [options]]

Plays the workloads of the fairness paper on a simulated engine, under llamero's queue, in order of arrival, and under a
limit of requests per minute.

  --real        then a light client beside a flooding one on the real llama-server (about two minutes)
  --seed N      of the arrivals (default 1)
  --json FILE   where the result goes (default: bench/results/fairness-TIME.json)`;

const options = readOptions(USAGE, {
  real: { type: 'boolean', default: false },
  seed: { type: 'string', default: '1' },
  json: { type: 'string' },
});

if (!/^\d{1,10}$/.test(options.seed)) misused(USAGE);
await main(Number(options.seed));

async function main(seed: number): Promise<void> {
  const startedAt = new Date();
  const { slots, stepMs, decodeMs, promptTokenMs } = ENGINE;
  console.log(
    `Seed ${seed}. Simulated engine: ${slots} slots, a step takes ${stepMs} ms + ${decodeMs} ms per slot + ${promptTokenMs} ms per prompt token.`,
  );
  const runs: RunFigures[] = [];
  for (const workload of workloads(seededRandom(seed))) {
    const own = SCHEDULERS.map((scheduler) => simulate(workload, scheduler).figures());
    console.log(`\n${workload.name}: ${workload.what}\n\n${renderRuns(own)}`);
    runs.push(...own);
  }
  console.log(`\n(${((Date.now() - startedAt.getTime()) / 1000).toFixed(1)} s)`);
  const real = options.real ? await onEngine() : null;
  const name = `fairness-${startedAt.toISOString().replaceAll(':', '-')}.json`;
  const file = options.json ?? path.join(import.meta.dirname, '..', 'results', name);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify({ startedAt, machine: describeMachine(), seed, runs, real }, null, 2)}\n`);
  console.log(`\nEvery value: ${path.relative(process.cwd(), file)}`);
}

async function onEngine(): Promise<unknown> {
  try {
    const figures = await measureOnEngine((text) => console.log(text));
    console.log(`\n${renderTable(figures)}`);
    return figures;
  } catch (error) {
    if (!(error instanceof Skipped)) throw error;
    console.log(`skipped: ${error.message}`);
    return { skipped: error.message };
  }
}
