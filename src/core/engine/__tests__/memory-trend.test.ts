import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { startFakeLlamaServer } from '../../../testing/index.ts';
import { type EngineMemoryReading, LlameroEmitter, type SettledRequest } from '../../events.ts';
import { EngineMemoryWatch, type EngineMemoryWatchOptions } from '../engine-memory-watch.ts';
import { GpuMemory, parseComputeApps } from '../gpu-memory.ts';
import { addPoint, growthPerRequest, type MemoryPoint } from '../memory-trend.ts';

const DEADLINE = { timeout: 30_000 };
const MEGABYTE = 1024 * 1024;

function points(count: number, used: (index: number) => number, requestsEach = 10): MemoryPoint[] {
  return Array.from({ length: count }, (_, index) => ({ requests: index * requestsEach, usedBytes: used(index) }));
}

/** What is said of series of looks at a memory, in bytes per request. */
const SERIES: readonly { name: string; points: MemoryPoint[]; growth: number | null }[] = [
  { name: 'nothing known', points: [], growth: null },
  { name: 'too few looks', points: points(9, (index) => index * 1000), growth: null },
  { name: 'too few requests', points: points(15, (index) => index * 1000, 1), growth: null },
  { name: 'a leak', points: points(40, (index) => 5e6 + index * 1000), growth: 100 },
  { name: 'a small leak', points: points(120, (index) => 5e9 + index * 10), growth: 1 },
  { name: 'none', points: points(40, () => 5e6), growth: 0 },
  { name: 'a cache made early', points: points(40, (index) => (index < 8 ? 5e6 : 9e6)), growth: 0 },
  { name: 'a cache made late', points: points(40, (index) => (index < 35 ? 5e6 : 9e6)), growth: 0 },
  { name: 'a leak and a cache', points: points(40, (index) => index * 1000 + (index < 6 ? 0 : 9e6)), growth: 100 },
  { name: 'noise around a leak', points: points(60, (index) => index * 1000 + (index % 2) * 50), growth: 100 },
  { name: 'memory given back', points: points(40, (index) => 5e6 - index * 20), growth: -2 },
];

describe('growth of a memory per request', () => {
  for (const { name, points: series, growth } of SERIES) {
    it(`${name}: ${growth}`, () => {
      assert.equal(growthPerRequest(series), growth);
    });
  }

  it('comes from as many looks as are kept, and from none without requests', () => {
    let series: readonly MemoryPoint[] = [];
    for (let look = 0; look < 500; look += 1) series = addPoint(series, { requests: look, usedBytes: look * 7 });
    assert.equal(series.length, 120);
    assert.equal(series.at(0)?.requests, 380);
    const idle = addPoint(series, { requests: 499, usedBytes: 99 });
    assert.equal(idle.length, 120);
    assert.deepEqual(idle.at(-1), { requests: 499, usedBytes: 99 });
    assert.equal(growthPerRequest(series), 7);
  });
});

describe('the memory of an engine that leaks', DEADLINE, () => {
  const isLinux = process.platform === 'linux';

  it('is told with its growth per request; on Linux', async () => {
    if (!isLinux) return;
    await using double = await startFakeLlamaServer({ faults: { leakBytesPerRequest: MEGABYTE } });
    const events = new LlameroEmitter();
    const limits: number[] = [];
    const watch = new EngineMemoryWatch({
      engine: {
        current: () => ({ generation: 1 }),
        status: () => ({ pid: double.pid }),
        memoryLimit: 100_000,
      } as unknown as EngineMemoryWatchOptions['engine'],
      events,
      onLimit: async (generation) => void limits.push(generation),
      intervalMs: 5,
    });
    watch.start();
    const reading = async () => ((await once(events, 'engine-memory')) as [EngineMemoryReading])[0];
    const body = JSON.stringify({ prompt: 'x', n_predict: 1 });
    let last = await reading();
    assert.equal(last.growthBytesPerRequest, null);
    for (let request = 0; request < 40; request += 1) {
      await (await fetch(`${double.url}/completion`, { method: 'POST', body })).text();
      events.publish('settled', { model: 'tiny' } as SettledRequest);
      // The look under way may have been taken before the request ended.
      await reading();
      last = await reading();
    }
    watch.stop();
    const growth = (last.growthBytesPerRequest ?? 0) / MEGABYTE;
    assert.ok(growth > 0.7 && growth < 1.5, `${growth} MB per request`);
    assert.ok(last.usedBytes > 40 * MEGABYTE && last.limitBytes === 100_000 * MEGABYTE);
    assert.deepEqual(limits, []);
    assert.equal(events.listenerCount('settled'), 0);
  });

  it('begins anew with the next engine', async () => {
    const events = new LlameroEmitter();
    const engine = { generation: 1 };
    const watch = new EngineMemoryWatch({
      engine: {
        current: () => ({ generation: engine.generation }),
        status: () => ({ pid: 1 }),
        memoryLimit: 1000,
      } as unknown as EngineMemoryWatchOptions['engine'],
      events,
      onLimit: async () => undefined,
      intervalMs: 2,
      measure: async () => 1000,
    });
    const awake = setInterval(() => undefined, 60_000);
    watch.start();
    const next = async () => ((await once(events, 'engine-memory')) as [EngineMemoryReading])[0];
    let told = await next();
    while (told.growthBytesPerRequest === null) {
      events.publish('settled', { model: 'tiny' } as SettledRequest);
      events.publish('settled', { model: null } as SettledRequest);
      told = await next();
    }
    assert.equal(told.growthBytesPerRequest, 0);
    engine.generation = 2;
    while (told.generation === 1) told = await next();
    assert.equal(told.growthBytesPerRequest, null);
    watch.stop();
    clearInterval(awake);
  });
});

describe('memory on GPUs', DEADLINE, () => {
  it('is that of the process, over all of them', () => {
    const csv = '71, 512\n4711, 1024\n4711, 256\n';
    assert.equal(parseComputeApps(csv, 4711), 1280 * MEGABYTE);
    assert.equal(parseComputeApps(csv, 47), null);
    assert.equal(parseComputeApps('4711, [N/A]\n', 4711), null);
    assert.equal(parseComputeApps('No devices were found\n', 1), null);
  });

  it('is asked for now and then, and no more where there is no tool for it', async () => {
    if (process.platform === 'win32') return;
    const directory = await mkdtemp(path.join(tmpdir(), 'llamero-gpu-'));
    try {
      const command = path.join(directory, 'nvidia-smi');
      await writeFile(command, '#!/bin/sh\necho "4711, 100"\n');
      await chmod(command, 0o755);
      const clock = { ms: 0 };
      const gpu = new GpuMemory(command, () => clock.ms);
      assert.equal(await gpu.usedBy(4711), 100 * MEGABYTE);
      await writeFile(command, '#!/bin/sh\necho "4711, 200"\n');
      clock.ms = 29_000;
      assert.equal(await gpu.usedBy(4711), 100 * MEGABYTE);
      assert.equal(await gpu.usedBy(4712), null, 'another process is asked for at once');
      clock.ms = 60_000;
      assert.equal(await gpu.usedBy(4711), 200 * MEGABYTE);
      await rm(command);
      clock.ms = 100_000;
      assert.equal(await gpu.usedBy(4711), null);
    } finally {
      await rm(directory, { recursive: true });
    }
    const none = new GpuMemory(path.join(directory, 'nvidia-smi'));
    assert.equal(await none.usedBy(1), null);
    assert.equal(await none.usedBy(2), null);
  });
});
