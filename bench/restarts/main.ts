import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { writeTinyModel } from '../../src/testing/write-tiny-model.ts';
import { describeMachine } from '../machine.ts';
import { misused, readOptions } from '../script-options.ts';
import { type RestartFigures, runRestarts } from './run-restarts.ts';

/** Some milliseconds a token on one core, so that streams last longer than a restart takes. */
const BALLAST_BYTES = 40_000_000;
const RESULTS = path.resolve(import.meta.dirname, '../results');

const USAGE = `npm run restarts -- [options]

Planned restarts of the engine, one behind the other, while clients stream and ask through the gateway. Prints what became of
their requests. Exit code 1 when one was broken, or a restart failed.

  --count N     restarts (default 100)
  --clients N   at once (default 6)
  --tokens N    of each answer (default 60)
  --drain MS    how long an old engine may work on (default 30000)
  --pause MS    between two restarts (default 200)`;

const options = readOptions(USAGE, {
  count: { type: 'string', default: '100' },
  clients: { type: 'string', default: '6' },
  tokens: { type: 'string', default: '60' },
  drain: { type: 'string', default: '30000' },
  pause: { type: 'string', default: '200' },
});
const plan = {
  count: wholeNumber(options.count, 1),
  clients: wholeNumber(options.clients, 1),
  maxTokens: wholeNumber(options.tokens, 1),
  drainMs: wholeNumber(options.drain, 0),
  pauseMs: wholeNumber(options.pause, 0),
};
const folder = await mkdtemp(path.join(tmpdir(), 'llamero-restarts-'));
try {
  const model = path.join(folder, 'model.gguf');
  await writeTinyModel(model, { ballastBytes: BALLAST_BYTES });
  const figures = await runRestarts({ model, ...plan }, (line) => console.error(line));
  await report(plan, figures);
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function report(planned: object, figures: RestartFigures): Promise<void> {
  const { brokenStreams, errors, restartMs, longestPauseMs, cachedShare, ...counts } = figures;
  console.table({
    ...counts,
    brokenStreams: brokenStreams.length,
    errors: errors.length,
    restartMsMedian: Math.round(restartMs.median),
    restartMsLongest: Math.round(restartMs.longest),
    longestPauseMs: Math.round(longestPauseMs),
    promptFromCache: `${Math.round(100 * cachedShare)} %`,
  });
  for (const flaw of [...brokenStreams, ...errors].slice(0, 20)) console.log(flaw);
  await mkdir(RESULTS, { recursive: true });
  const file = path.join(RESULTS, `restarts-${new Date().toISOString().replaceAll(':', '-')}.json`);
  await writeFile(file, `${JSON.stringify({ machine: describeMachine(), plan: planned, figures }, null, 2)}\n`);
  console.log(`Every value: ${path.relative(process.cwd(), file)}`);
  if (brokenStreams.length + errors.length + figures.failedRestarts > 0) process.exitCode = 1;
}

function wholeNumber(text: string, least: number): number {
  const value = Number(text);
  return Number.isInteger(value) && value >= least ? value : misused(USAGE);
}
