import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { LlameroEmitter, type LlameroEvents } from '../../events.ts';
import { anonymousMemory, engineMemoryLimit } from '../engine-memory.ts';
import { EngineMemoryWatch, type EngineMemoryWatchOptions } from '../engine-memory-watch.ts';

const DEADLINE = { timeout: 10_000 };
const MEGABYTE = 1024 * 1024;

/** An engine of which only generation, process and memory are there. */
function watched(megabytes: number) {
  const engine = { generation: 1, ready: true, megabytes };
  // The watch holds nothing open, and Node 22 gives up tests that wait while nothing is.
  const awake = setInterval(() => {}, 60_000);
  const events = new LlameroEmitter();
  const limits: number[] = [];
  const measured = Promise.withResolvers<void>();
  const endpoint = {
    current: () => (engine.ready ? { generation: engine.generation } : null),
    status: () => ({ pid: 1 }),
    memoryLimit: 100,
  } as unknown as EngineMemoryWatchOptions['engine'];
  const watch = new EngineMemoryWatch({
    engine: endpoint,
    events,
    onLimit: async (generation) => limits.push(generation),
    intervalMs: 5,
    measure: async () => {
      measured.resolve();
      return engine.megabytes * MEGABYTE;
    },
  });
  return {
    engine,
    /** Resolves once the memory has been looked at. */
    measured: measured.promise,
    events,
    watch,
    limits,
    nextEvent: () => new Promise<LlameroEvents['memory'][0]>((resolve) => events.once('memory', resolve)),
    [Symbol.dispose]: () => {
      watch.stop();
      clearInterval(awake);
    },
  };
}

describe('the watch over the memory of an engine', DEADLINE, () => {
  it('reports a generation that has grown to the limit, once, and that the next one is well', async () => {
    using fixture = watched(50);
    const { engine, watch, limits } = fixture;
    const first = fixture.nextEvent();
    watch.start();
    await fixture.measured;
    engine.megabytes = 120;
    const { of, ok, usedBytes, limitBytes, message } = await first;
    assert.deepEqual(
      { of, ok, usedBytes, limitBytes },
      { of: 'engine', ok: false, usedBytes: 120 * MEGABYTE, limitBytes: 100 * MEGABYTE },
    );
    assert.match(message, /120 MB/);
    const recovered = fixture.nextEvent();
    engine.ready = false;
    Object.assign(engine, { generation: 2, megabytes: 50, ready: true });
    assert.equal((await recovered).ok, true);
    assert.deepEqual(limits, [1]);
  });

  it('does not replace an engine that needs more from the start, and says what it needs', async () => {
    using fixture = watched(160);
    const first = fixture.nextEvent();
    fixture.watch.start();
    const { ok, message } = await first;
    assert.equal(ok, false);
    assert.match(message, /too low: a fresh engine already needs 160 MB.*200 MB/);
    assert.deepEqual(fixture.limits, []);
  });

  it('looks at a fresh engine at once', async () => {
    using fixture = watched(160);
    fixture.engine.ready = false;
    const slow = new EngineMemoryWatch({
      engine: {
        current: () => (fixture.engine.ready ? { generation: 1 } : null),
        status: () => ({ pid: 1 }),
        memoryLimit: 100,
      } as unknown as EngineMemoryWatchOptions['engine'],
      events: fixture.events,
      onLimit: async () => undefined,
      intervalMs: 60_000,
      measure: async () => 160 * MEGABYTE,
    });
    slow.start();
    await new Promise(setImmediate);
    const first = fixture.nextEvent();
    fixture.engine.ready = true;
    fixture.events.publish('engine-ready', { generation: 1, startMs: 1, slots: 1, contextLength: 1, model: 'm' });
    assert.equal((await first).ok, false);
    slow.stop();
    assert.equal(fixture.events.listenerCount('engine-ready'), 0);
  });
});

describe('the limit and the use of memory', DEADLINE, () => {
  it('is what was configured, in MB, or 90 % of machine or control group', async () => {
    assert.equal(await engineMemoryLimit(64), 64 * MEGABYTE);
    const root = await mkdtemp(path.join(os.tmpdir(), 'llamero-limit-'));
    try {
      assert.equal(await engineMemoryLimit('auto', root), 0.9 * os.totalmem());
      await mkdir(path.join(root, 'proc/self'), { recursive: true });
      await mkdir(path.join(root, 'sys/fs/cgroup/app'), { recursive: true });
      await writeFile(path.join(root, 'proc/self/cgroup'), '0::/app\n');
      await writeFile(path.join(root, 'sys/fs/cgroup/app/memory.max'), '1000000\n');
      assert.equal(await engineMemoryLimit('auto', root), 900_000);
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  });

  it('counts what a process has allocated, where the system tells it', async () => {
    const before = await anonymousMemory(process.pid);
    if (process.platform !== 'linux') return assert.equal(before, null);
    const ballast = Buffer.alloc(64 * MEGABYTE, 1);
    const after = await anonymousMemory(process.pid);
    assert.ok((after ?? 0) - (before ?? 0) > 0.9 * ballast.length);
    assert.equal(await anonymousMemory(2 ** 22 + 1), null);
  });
});
