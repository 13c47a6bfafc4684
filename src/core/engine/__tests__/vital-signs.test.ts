import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { parseAnonymousMemory } from '../engine-memory.ts';
import { parseProcessWork, processWork } from '../process-work.ts';
import { parseSlots, type VitalSigns, workBetween } from '../vital-signs.ts';

describe('what a process did between two samples', () => {
  const before = { state: 'S', cpuMs: 1000, majorFaults: 5 };
  const table: [
    name: string,
    after: Partial<typeof before> | null,
    elapsedMs: number,
    expected: VitalSigns['process'],
  ][] = [
    ['nothing', {}, 600, 'idle'],
    ['a tick, as its HTTP threads may take', { cpuMs: 1010 }, 600, 'idle'],
    ['work', { cpuMs: 1030 }, 600, 'busy'],
    ['too little for so long a time', { cpuMs: 1030 }, 60_000, 'idle'],
    ['reading of its weights from the disk', { majorFaults: 6 }, 600, 'busy'],
    ['waiting for the disk', { state: 'D' }, 600, 'busy'],
    ['stopped meanwhile', { state: 'T' }, 600, 'frozen'],
    ['stopped by a debugger', { state: 't', cpuMs: 5000 }, 600, 'frozen'],
    ['dead, not yet collected', { state: 'Z' }, 600, 'unknown'],
    ['gone', null, 600, 'unknown'],
  ];
  for (const [name, after, elapsedMs, expected] of table) {
    it(`${name}: ${expected}`, () => {
      assert.equal(workBetween(before, after === null ? null : { ...before, ...after }, elapsedMs), expected);
    });
  }

  it('is unknown without a first sample', () => assert.equal(workBetween(null, before, 600), 'unknown'));

  it('reads /proc/PID/stat, whatever the command is called', () => {
    const fields = Array.from({ length: 49 }, (_, index) => String(index + 4));
    const work = parseProcessWork(`42 (a) b (c) T ${fields.join(' ')}`);
    assert.deepEqual(work, { state: 'T', majorFaults: 12, cpuMs: (14 + 15) * 10 });
  });

  it(
    'tells a stopped process from a running one',
    { timeout: 10_000, skip: process.platform !== 'linux' && '/proc of Linux' },
    async () => {
      const child = spawn('sleep', ['60']);
      try {
        await once(child, 'spawn');
        const pid = child.pid ?? 0;
        assert.match((await processWork(pid))?.state ?? '', /[RSD]/);
        child.kill('SIGSTOP');
        while ((await processWork(pid))?.state !== 'T') await new Promise(setImmediate);
      } finally {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      assert.equal(await processWork(child.pid ?? 0), null);
    },
  );
});

describe('the answer of /slots', () => {
  it('tells how far each slot has come', () => {
    const text = JSON.stringify([
      { id: 0, is_processing: true, id_task: 7, n_prompt_tokens_processed: 30, next_token: [{ n_decoded: 12 }] },
      { id: 1, is_processing: false },
    ]);
    assert.deepEqual(parseSlots(text), [
      { busy: true, task: 7, tokens: 42 },
      { busy: false, task: null, tokens: 0 },
    ]);
  });

  it('is none when it is something else', () => {
    for (const text of ['', '<html>', '{"error":{}}', 'null']) assert.equal(parseSlots(text), null);
  });
});

describe('the anonymous memory in /proc/PID/status', () => {
  it('counts what was swapped out, and no mapped files', () => {
    const status =
      'Name:\tllama-server\nVmRSS:\t  999 kB\nRssAnon:\t     100 kB\nRssFile:\t     899 kB\nVmSwap:\t      20 kB\n';
    assert.equal(parseAnonymousMemory(status), 120 * 1024);
  });

  it('is not known of a dead process', () =>
    assert.equal(parseAnonymousMemory('Name:\tx\nState:\tZ (zombie)\n'), null));
});
