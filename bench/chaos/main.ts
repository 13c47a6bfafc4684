import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describeMachine } from '../machine.ts';
import { findEngine } from '../real-engine.ts';
import { misused, readOptions } from '../script-options.ts';
import { renderProgress, renderReport, reportData } from './report.ts';
import { runChaos } from './run-chaos.ts';

const USAGE = `npm run chaos -- [options]

Clients that come, leave, stall, flood and lie, in front of a real llama-server that is killed and frozen all the while. Exit
code 1 when anything was lost, doubled, silently cut, unanswered, or left behind.

  --minutes N   how long (default 10)
  --seed N      of all that happens (default: any)
  --clients N   at once (default 16)
  --json FILE   where the result goes (default: bench/results/chaos-TIME.json)`;

const FAULT_EVERY_MS = [5000, 20_000] as const;
const QUIET_ROUNDS = 5;

const options = readOptions(USAGE, {
  minutes: { type: 'string', default: '10' },
  seed: { type: 'string' },
  clients: { type: 'string', default: '16' },
  json: { type: 'string' },
});

const minutes = Number(options.minutes);
const clients = Number(options.clients);
const seed = options.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(options.seed);
if (!(minutes > 0) || !Number.isInteger(clients) || clients < 1 || !Number.isInteger(seed)) misused(USAGE);
process.exitCode = await main();

async function main(): Promise<number> {
  const startedAt = new Date();
  const durationMs = minutes * 60_000;
  console.log(`Seed ${seed}, ${clients} clients, ${minutes} min`);
  let samples = 0;
  const ledger = await runChaos({
    seed,
    durationMs,
    clients,
    faultEveryMs: FAULT_EVERY_MS,
    quietRounds: QUIET_ROUNDS,
    command: await findEngine(),
    progress: (progress) => {
      samples += 1;
      const seconds = Math.round((Date.now() - startedAt.getTime()) / 1000);
      if (samples % 5 === 1) console.error(`${seconds} s: ${renderProgress(progress)}`);
    },
  });
  console.log(renderReport(ledger));
  const name = `chaos-${startedAt.toISOString().replaceAll(':', '-')}.json`;
  const file = options.json ?? path.join(import.meta.dirname, '..', 'results', name);
  await mkdir(path.dirname(file), { recursive: true });
  const result = { startedAt, machine: describeMachine(), seed, clients, minutes, ...reportData(ledger) };
  await writeFile(file, `${JSON.stringify(result, null, 2)}\n`);
  console.log(`Every value: ${path.relative(process.cwd(), file)}`);
  console.log(`The same plan again: npm run chaos -- --seed ${seed} --clients ${clients} --minutes ${minutes}`);
  return ledger.violations.length > 0 ? 1 : 0;
}
