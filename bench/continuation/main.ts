/**
 * `npm run test:chaos [-- --every N]`: every stream of an answer, its engine killed behind every N-th token, for every route
 * and mode. Prints what became of them, writes bench/results, and ends with 1 when one lacks its end or an exact one differs.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { flawOf, readStream, type ReadStream, type TestDialect } from '../../src/gateway/__tests__/continued-stream.ts';
import { DIALECTS, serve, type Served } from '../../src/gateway/__tests__/served-engine.ts';
import { writeTinyModel } from '../../src/testing/write-tiny-model.ts';
import { median } from '../statistics.ts';

const TOKENS = 60;
/** Some 12 ms a token on one core: slower than the gateway puts tokens of a fast stream together. */
const BALLAST_BYTES = 180_000_000;
const RESTART = { maxRestarts: 1000, window: 60_000, delay: 1, backoffMultiplier: 1, maxDelay: 1 };
const RESULTS = path.resolve(import.meta.dirname, '../results');

/** What became of the streams of one route in one mode. */
interface Row {
  readonly route: string;
  readonly mode: string;
  equal: number;
  differs: number;
  /** What is wrong with the form of the others, by token index. */
  readonly flaws: { readonly index: number; readonly flaw: string }[];
  readonly pausesMs: number[];
}

const every = Number(parseArgs({ options: { every: { type: 'string', default: '1' } } }).values.every);
if (!Number.isInteger(every) || every < 1) throw new Error('--every takes a whole number from 1 on');
const folder = await mkdtemp(path.join(tmpdir(), 'llamero-continuation-'));
try {
  const model = path.join(folder, 'model.gguf');
  await writeTinyModel(model, { ballastBytes: BALLAST_BYTES });
  const engine = { restart: RESTART, args: ['--flash-attn', 'off'] };
  await using served = await serve({ model, engine });
  await run(served);
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function run(served: Served): Promise<void> {
  const startsMs: number[] = [];
  served.provider.on('engine-ready', ({ startMs }) => startsMs.push(startMs));
  const rows: Row[] = [];
  for (const dialect of DIALECTS) {
    const whole = await ask(served, dialect, 'off', null);
    for (const mode of ['fast', 'exact']) {
      const row: Row = { route: dialect.path, mode, equal: 0, differs: 0, flaws: [], pausesMs: [] };
      for (let index = 1; index <= TOKENS; index += every)
        note(row, index, dialect, whole, await ask(served, dialect, mode, index));
      rows.push(row);
      process.stderr.write(`${dialect.path} ${mode}\n`);
    }
  }
  const coldStartMs = median(startsMs);
  print(rows, coldStartMs);
  await mkdir(RESULTS, { recursive: true });
  const file = path.join(RESULTS, `continuation-${new Date().toISOString().replaceAll(':', '-')}.json`);
  await writeFile(file, `${JSON.stringify({ tokens: TOKENS, every, coldStartMs, rows }, null, 2)}\n`);
  if (rows.some(({ mode, differs, flaws }) => flaws.length > 0 || (mode === 'exact' && differs > 0)))
    process.exitCode = 1;
}

function note(row: Row, index: number, dialect: TestDialect, whole: ReadStream, stream: ReadStream): void {
  const flaw = flawOf(stream, dialect);
  if (flaw !== null) row.flaws.push({ index, flaw });
  else if (stream.text === whole.text) row.equal += 1;
  else row.differs += 1;
  // Where the end was on its way nothing had to go on.
  if (stream.continued > 0) row.pausesMs.push(stream.pauseMs);
}

/** One greedy stream; its engine is killed when the client has so many pieces of text. */
async function ask(served: Served, dialect: TestDialect, mode: string, killAt: number | null): Promise<ReadStream> {
  const body = { ...dialect.body('Hello'), [dialect.limit]: TOKENS, temperature: 0, stream: true };
  const response = await served.post(dialect.path, body, { 'x-stream-continuation': mode });
  return readStream(response, (count) => {
    const { pid } = served.provider.status();
    if (count === killAt && pid !== null) process.kill(pid, 'SIGKILL');
  });
}

function print(rows: readonly Row[], coldStartMs: number): void {
  const table = rows.map(({ route, mode, equal, differs, flaws, pausesMs }) => ({
    route,
    mode,
    equal,
    differs,
    error: flaws.length,
    'median pause, ms': Math.round(median(pausesMs)),
    'longest, ms': Math.round(Math.max(...pausesMs)),
  }));
  console.table(table);
  for (const { route, mode, flaws } of rows) {
    for (const { index, flaw } of flaws) process.stdout.write(`${route} ${mode}, token ${index}: ${flaw}\n`);
  }
  process.stdout.write(`cold start of the engine: ${Math.round(coldStartMs)} ms\n`);
}
