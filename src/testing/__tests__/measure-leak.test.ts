import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { measureLeak, type LeakReport } from '../index.ts';
import type { PlantName } from './leaking-process.ts';

const DEADLINE = { timeout: 60_000 };
const PROGRAM = fileURLToPath(new URL('leaking-process.ts', import.meta.url));

/** Measured in a process of its own: the test runner keeps some objects of each test itself. */
async function measure(plants: readonly PlantName[], execArgv: readonly string[] = []): Promise<LeakReport> {
  const { stdout } = await promisify(execFile)(process.execPath, [...execArgv, PROGRAM, ...plants]);
  return JSON.parse(stdout) as LeakReport;
}

/** What each planted leak must be seen by: a count that grew while the subject was open, or a kind of memory. */
const SEEN = {
  listener: 'listeners',
  closure: 'function plantedClosure',
  object: 'Planted',
  timer: 'Timeout',
  signal: 'AbortSignal',
  socket: 'Socket',
  buffer: 'external',
  text: 'heap',
} as const satisfies Partial<Record<PlantName, string>>;

describe('measureLeak', { concurrency: 2 }, () => {
  it('finds a planted leak of each kind, and names it', DEADLINE, async () => {
    const report = await measure(Object.keys(SEEN) as PlantName[]);
    assert.equal(report.verdict, 'leak', report.summary);
    assert.match(report.summary, /^leaking-process: leak, \d+ units\n/);
    const leaks = report.memory.filter(({ verdict }) => verdict === 'leak').map(({ kind }) => kind);
    const seen = new Set([...report.whileOpen.map(({ name }) => name), ...leaks]);
    for (const [plant, name] of Object.entries(SEEN)) assert.ok(seen.has(name), `${plant}: ${report.summary}`);
  });

  it('finds child processes that nobody lets go of', DEADLINE, async () => {
    const { verdict, whileOpen, summary } = await measure(['child']);
    assert.equal(verdict, 'leak', summary);
    assert.ok(
      whileOpen.some(({ name }) => name === 'ChildProcess'),
      summary,
    );
  });

  it('finds a single object that outlives its subject', DEADLINE, async () => {
    const { verdict, whileOpen, afterClose, summary } = await measure(['subject']);
    assert.deepEqual([verdict, whileOpen], ['leak', []], summary);
    assert.ok(
      afterClose.some(({ name }) => name === 'Planted'),
      summary,
    );
  });

  it('finds nothing where there is nothing, with and without --expose-gc', DEADLINE, async () => {
    for (const execArgv of [[], ['--expose-gc']]) {
      const report = await measure(['nothing'], execArgv);
      assert.equal(report.verdict, 'clean', report.summary);
    }
  });

  it('closes its subject when a unit fails, and passes the failure on', DEADLINE, async () => {
    let closed = 0;
    const failing = measureLeak({
      open: () => ({ [Symbol.asyncDispose]: () => Promise.resolve(void (closed += 1)) }),
      run: () => Promise.reject(new Error('the unit failed')),
    });
    await assert.rejects(failing, { message: 'the unit failed' });
    assert.equal(closed, 1);
  });

  it('ends between two batches when its signal says so', DEADLINE, async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    await assert.rejects(measureLeak({ open: () => null, run: () => Promise.resolve(), signal }), {
      message: 'enough',
    });
  });
});
