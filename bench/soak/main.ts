import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describeMachine } from '../machine.ts';
import { findEngine } from '../real-engine.ts';
import { misused, readOptions } from '../script-options.ts';
import { judgeSoak } from './judge-soak.ts';
import { longestLifetime } from './lifetimes.ts';
import { runSoak } from './run-soak.ts';
import { chartSeries, renderSvgChart, renderTextChart } from './soak-chart.ts';
import { describeResult, describeSample, judgeResult } from './soak-report.ts';

const USAGE = `npm run soak -- [options]

llamero serve under mixed load, for minutes or hours, its memory sampled from inside. At the end the growth per 1,000 requests with
its error, a verdict and a chart. Exit code 1 when memory surely grows, or when something of a request outlives it.

  --minutes N   how long (default 60)
  --clients N   at once (default 16)
  --real        the real llama-server with a small model (default: a double)
  --sample N    seconds between two samples (default 5)
  --kill N      seconds between two kills of the engine (default 60; 0: none)
  --seed N      of what the clients do (default: any)
  --out DIR     where chart and samples go (default: bench/results/soak-TIME)`;

const options = readOptions(USAGE, {
  minutes: { type: 'string', default: '60' },
  clients: { type: 'string', default: '16' },
  real: { type: 'boolean', default: false },
  sample: { type: 'string', default: '5' },
  kill: { type: 'string', default: '60' },
  seed: { type: 'string' },
  out: { type: 'string' },
});
const minutes = Number(options.minutes);
const clients = Number(options.clients);
const sampleSeconds = Number(options.sample);
const killSeconds = Number(options.kill);
const seed = options.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(options.seed);
const areValid = minutes > 0 && Number.isInteger(clients) && clients > 0 && sampleSeconds > 0 && killSeconds >= 0;
if (!areValid || !Number.isInteger(seed)) misused(USAGE);
process.exitCode = await main();

async function main(): Promise<number> {
  const startedAt = new Date();
  const { name, ms } = longestLifetime();
  console.log(`Seed ${seed}, ${clients} clients, ${minutes} min, ${options.real ? 'llama-server' : 'double'}`);
  console.log(
    `Longest time to live: ${ms / 60_000} min (${name})${minutes * 60_000 > ms ? '' : '; this run is shorter'}`,
  );
  const result = await runSoak({
    durationMs: minutes * 60_000,
    clients,
    sampleEveryMs: sampleSeconds * 1000,
    killEveryMs: killSeconds === 0 ? null : killSeconds * 1000,
    seed,
    command: options.real ? await findEngine() : null,
    progress: (sample) => console.error(describeSample(sample)),
  });
  const growth = judgeSoak(result.samples);
  const series = chartSeries(result.samples);
  console.log(`\n${renderTextChart(series)}\n`);
  console.log(describeResult(result, growth));
  const out =
    options.out ??
    path.join(import.meta.dirname, '..', 'results', `soak-${startedAt.toISOString().replaceAll(':', '-')}`);
  await mkdir(out, { recursive: true });
  const seconds = result.samples.map((sample) => sample.seconds);
  const title = `llamero serve, ${result.requests} requests of ${clients} clients in ${minutes} min`;
  await writeFile(path.join(out, 'chart.svg'), renderSvgChart(series, seconds, title));
  const data = { startedAt, machine: describeMachine(), seed, clients, minutes, real: options.real, growth, ...result };
  await writeFile(path.join(out, 'samples.json'), `${JSON.stringify(data, null, 2)}\n`);
  console.log(`Chart and samples: ${path.relative(process.cwd(), out)}`);
  return judgeResult(result, growth) === 'leak' ? 1 : 0;
}
