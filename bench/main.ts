import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { inspect } from 'node:util';
import { type BenchContext, type Benchmark, Skipped } from './bench-context.ts';
import { BENCHMARKS } from './benchmarks.ts';
import { describeMachine, type Machine } from './machine.ts';
import { type Figure, isReached, renderTable } from './report.ts';
import { misused, readArguments } from './script-options.ts';
import { seededRandom } from './statistics.ts';

type Result = { figures: Figure[]; seconds: number } | { skipped: string } | { failed: string };

const USAGE = `npm run bench [-- [NAME …] [options]]

  --rounds N    rounds of each comparison (default 7, with --quick 2)
  --quick       a first look in a minute and a half
  --seed N      order of the rounds (default: any)
  --json FILE   where the result goes (default: bench/results/TIME.json)

Benchmarks:
${BENCHMARKS.map(({ name, summary }) => `  ${name.padEnd(18)}${summary}`).join('\n')}`;

const { values: options, positionals } = readArguments(USAGE, {
  rounds: { type: 'string' },
  quick: { type: 'boolean', default: false },
  seed: { type: 'string' },
  json: { type: 'string' },
});
process.exitCode = await main();

async function main(): Promise<number> {
  const chosen = choose(positionals);
  const rounds = wholeNumber('--rounds', options.rounds, options.quick ? 2 : 7);
  const seed = wholeNumber('--seed', options.seed, Math.floor(Math.random() * 2 ** 31));
  if (chosen === null || rounds === null || rounds < 1 || seed === null) misused(USAGE);
  const machine = describeMachine();
  printMachine(machine, seed, rounds);
  const startedAt = new Date();
  const results: Record<string, Result> = {};
  for (const benchmark of chosen) {
    results[benchmark.name] = await runOne(benchmark, {
      rounds,
      quick: options.quick,
      random: seededRandom(seed),
      progress,
    });
  }
  const figures = Object.values(results).flatMap((result) => ('figures' in result ? result.figures : []));
  console.log(`\n${renderTable(figures)}`);
  const file =
    options.json ?? path.join(import.meta.dirname, 'results', `${startedAt.toISOString().replaceAll(':', '-')}.json`);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(
    file,
    `${JSON.stringify({ startedAt, machine, seed, rounds, quick: options.quick, results }, null, 2)}\n`,
  );
  console.log(`\nEvery value: ${path.relative(process.cwd(), file)}`);
  const missed = figures.filter((figure) => isReached(figure) === false);
  if (missed.length > 0) console.log(`Not reached here: ${missed.map(({ name }) => name).join('; ')}`);
  // Time on somebody's machine is no reason to fail; what could not be measured is.
  return Object.values(results).some((result) => 'failed' in result) ? 1 : 0;
}

async function runOne(benchmark: Benchmark, context: BenchContext): Promise<Result> {
  const startedAt = performance.now();
  console.log(`\n${benchmark.name}: ${benchmark.summary}`);
  try {
    const figures = await benchmark.run(context);
    clearProgress();
    const seconds = Math.round((performance.now() - startedAt) / 1000);
    console.log(`${renderTable(figures)}\n(${seconds} s)`);
    return { figures, seconds };
  } catch (error) {
    clearProgress();
    if (error instanceof Skipped) {
      console.log(`skipped: ${error.message}`);
      return { skipped: error.message };
    }
    // The others may still be of use.
    console.log(`failed: ${inspect(error)}`);
    return { failed: String(error) };
  }
}

function choose(names: readonly string[]): readonly Benchmark[] | null {
  const unknown = names.filter((name) => !BENCHMARKS.some((benchmark) => benchmark.name === name));
  if (unknown.length > 0) {
    console.error(`There is no benchmark ${unknown.map((name) => `'${name}'`).join(', ')}.\n`);
    return null;
  }
  return names.length === 0 ? BENCHMARKS : BENCHMARKS.filter(({ name }) => names.includes(name));
}

function wholeNumber(option: string, text: string | undefined, otherwise: number): number | null {
  if (text === undefined) return otherwise;
  if (/^\d{1,10}$/.test(text)) return Number(text);
  console.error(`${option}: expected a whole number, came ${text}\n`);
  return null;
}

function printMachine(machine: Machine, seed: number, rounds: number): void {
  const { cpu, cores, memoryMb, system, node, pinned, loadBefore } = machine;
  console.log(`${cpu}, ${cores} cores, ${memoryMb} MB, ${system}, Node ${node}`);
  console.log(pinned ? 'Gateway pinned to core 1, upstream and load to core 0.' : 'Nothing is pinned to a core here.');
  console.log(`Seed ${seed}, ${rounds} rounds, load average before ${loadBefore}.`);
  if (loadBefore > 0.5) console.log('Somebody else is at work on this machine: trust pairs more than absolute values.');
}

function progress(text: string): void {
  if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K  ${text}`);
}

function clearProgress(): void {
  if (process.stdout.isTTY) process.stdout.write('\r\x1b[K');
}
