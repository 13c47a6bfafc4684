import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DIALECTS } from '../../src/gateway/__tests__/served-engine.ts';
import { writeTinyModel } from '../../src/testing/write-tiny-model.ts';
import { misused, readOptions } from '../script-options.ts';
import { cutBytes } from './cut-bytes.ts';
import { FAULTS } from './faults.ts';
import { isAsPromised, type Row, summaryOf } from './outcomes.ts';
import { tryFaults } from './try-faults.ts';

/** Some 12 ms a token on one core: slower than the gateway puts tokens of a fast stream together. */
const BALLAST_BYTES = 180_000_000;
const RESULTS = path.resolve(import.meta.dirname, '../results');
const MODES = ['fast', 'exact'];
/** Beside those of the engine, the fault of a connection. */
const CUT = 'cut';

const USAGE = `npm run test:chaos -- [options]

Streams of an answer of 60 tokens whose engine is lost behind each of them, for every route and mode, and in other ways at some
of them; and streams whose connection is cut behind every byte. Some 45 minutes. Prints what became of them. Exit code 1 when one
is not whole, or differs under exact.

  --fault A,B   ${[...FAULTS.map(({ name }) => name), CUT].join(', ')} (default: all)
  --route A,B   ${DIALECTS.map(({ name }) => name).join(', ')} (default: all)
  --mode A,B    ${MODES.join(', ')} (default: both)
  --every N     at every Nth token (default: as suits each fault)
  --seed N      the first of these tokens (default 0)
  --minutes N   no more are begun after that (default 120)`;

const values = readOptions(USAGE, {
  every: { type: 'string' },
  route: { type: 'string' },
  mode: { type: 'string' },
  fault: { type: 'string' },
  seed: { type: 'string', default: '0' },
  minutes: { type: 'string', default: '120' },
});
const startedAt = performance.now();
const faults = new Set(chosen('--fault', [...FAULTS, { name: CUT }], values.fault).map(({ name }) => name));
const plan = {
  faults: FAULTS.filter(({ name }) => faults.has(name)),
  dialects: chosen('--route', DIALECTS, values.route),
  modes: chosen(
    '--mode',
    MODES.map((name) => ({ name })),
    values.mode,
  ).map(({ name }) => name),
  every: values.every === undefined ? null : wholeNumber('--every', values.every, 1),
  offset: wholeNumber('--seed', values.seed, 0),
  untilMs: startedAt + 60_000 * wholeNumber('--minutes', values.minutes, 1),
};
const folder = await mkdtemp(path.join(tmpdir(), 'llamero-continuation-'));
try {
  const model = path.join(folder, 'model.gguf');
  await writeTinyModel(model, { ballastBytes: BALLAST_BYTES });
  const rows = await tryFaults(plan, model, tell);
  await report(faults.has(CUT) ? [...rows, ...(await cutBytes(plan, tell))] : rows);
} finally {
  await rm(folder, { recursive: true, force: true });
}

function tell({ fault, route, mode, outcomes }: Row): void {
  const equal = outcomes.filter(({ result }) => result === 'equal').length;
  process.stderr.write(`${fault} ${route} ${mode}: ${equal} of ${outcomes.length} equal\n`);
}

async function report(rows: readonly Row[]): Promise<void> {
  console.table(rows.map(summaryOf));
  for (const { fault, route, mode, outcomes } of rows) {
    const others = outcomes.filter(({ result }) => result === 'other').map(({ index }) => index);
    if (others.length > 0) console.log(`${fault} ${route} ${mode}: another rest behind token ${others.join(', ')}`);
    for (const { index, flaw } of outcomes) {
      if (flaw !== null) console.log(`${fault} ${route} ${mode}, token ${index}: ${flaw}`);
    }
  }
  if (performance.now() > plan.untilMs) console.log('The time was up: some streams were left out.');
  await mkdir(RESULTS, { recursive: true });
  const file = path.join(RESULTS, `continuation-${new Date().toISOString().replaceAll(':', '-')}.json`);
  await writeFile(file, `${JSON.stringify({ seed: plan.offset, every: plan.every, rows }, null, 2)}\n`);
  console.log(`every outcome by token: ${path.relative(process.cwd(), file)}`);
  if (!rows.every(isAsPromised)) process.exitCode = 1;
}

/** Those of the list that were named, separated by commas; all when none was. */
function chosen<Named extends { readonly name: string }>(
  option: string,
  all: readonly Named[],
  names: string | undefined,
): readonly Named[] {
  if (names === undefined) return all;
  return names.split(',').map((name) => {
    const found = all.find((one) => one.name === name);
    if (found !== undefined) return found;
    return misused(USAGE, `${option} takes ${all.map((one) => one.name).join(', ')}, not '${name}'`);
  });
}

function wholeNumber(option: string, text: string, least: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least) return value;
  return misused(USAGE, `${option} takes a whole number from ${least} on, not '${text}'`);
}
