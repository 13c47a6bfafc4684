import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { LlameroEmitter, type LlameroEvents } from '../../events.ts';
import { collectGarbage } from '../collect-garbage.ts';
import { MemoryGuard } from '../memory-guard.ts';

const DEADLINE = { timeout: 10_000 };
const MEGABYTE = 1024 * 1024;
const LIMIT_BYTES = 100 * MEGABYTE;

type MemoryEvent = LlameroEvents['memory'][0];

/** A guard over a directory that stands for the file system of a machine. */
async function guarded(files: Record<string, string> = {}) {
  const root = await mkdtemp(path.join(os.tmpdir(), 'llamero-guard-'));
  const write = async (name: string, text: string): Promise<void> => {
    await mkdir(path.dirname(path.join(root, name)), { recursive: true });
    await writeFile(path.join(root, name), text);
  };
  for (const [name, text] of Object.entries(files)) await write(name, text);
  // The guard holds nothing open, and Node 22 gives up tests that wait while nothing is.
  const awake = setInterval(() => {}, 60_000);
  const events = new LlameroEmitter();
  const holds: boolean[] = [];
  const machine = { usedBytes: 10 * MEGABYTE, collections: 0 };
  const guard = new MemoryGuard({
    memoryLimitBytes: LIMIT_BYTES,
    events,
    onHold: (held) => holds.push(held),
    intervalMs: 5,
    sources: { usedBytes: () => machine.usedBytes, root, collect: () => (machine.collections += 1) },
  });
  return {
    guard,
    machine,
    holds,
    write,
    nextEvent: () => new Promise<MemoryEvent>((resolve) => events.once('memory', resolve)),
    [Symbol.asyncDispose]: async () => {
      guard.stop();
      clearInterval(awake);
      await rm(root, { recursive: true, force: true });
    },
  };
}

const pressure = (some: number, full: number): string =>
  `some avg10=${some}.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=${full}.00 avg60=0.00 avg300=0.00 total=1\n`;

describe('the memory guard', DEADLINE, () => {
  it('refuses new requests near the limit, and takes them again', async () => {
    await using fixture = await guarded();
    const { guard, machine } = fixture;
    guard.start();
    assert.equal(guard.refusal(), null);
    const near = fixture.nextEvent();
    machine.usedBytes = 95 * MEGABYTE;
    const { of, ok, usedBytes, limitBytes } = await near;
    assert.deepEqual(
      { of, ok, usedBytes, limitBytes },
      { of: 'llamero', ok: false, usedBytes: 95 * MEGABYTE, limitBytes: LIMIT_BYTES },
    );
    const refusal = guard.refusal();
    assert.ok(refusal?.code === 'memory_pressure' && refusal.status === 503 && (refusal.retryAfterMs ?? 0) > 0);
    assert.equal(machine.collections, 1, 'garbage is collected, for nothing else would');
    const away = fixture.nextEvent();
    machine.usedBytes = 50 * MEGABYTE;
    assert.equal((await away).ok, true);
    assert.equal(guard.refusal(), null);
    assert.equal(guard.held, false);
  });

  it('holds requests back while the machine is short of memory', async () => {
    await using fixture = await guarded({ 'proc/pressure/memory': pressure(0, 0) });
    const { guard, holds } = fixture;
    guard.start();
    const short = fixture.nextEvent();
    await fixture.write('proc/pressure/memory', pressure(80, 30));
    const { of, ok, message } = await short;
    assert.deepEqual({ of, ok }, { of: 'machine', ok: false });
    assert.match(message, /80 %/);
    assert.deepEqual([guard.held, guard.refusal()], [true, null]);
    const over = fixture.nextEvent();
    await fixture.write('proc/pressure/memory', pressure(1, 0));
    assert.equal((await over).ok, true);
    assert.equal(guard.held, false);
    assert.deepEqual(holds, [true, false]);
  });

  it('sees the pressure of its control group alone as well', async () => {
    await using fixture = await guarded({
      'proc/pressure/memory': pressure(0, 0),
      'proc/self/cgroup': '0::/app\n',
      'sys/fs/cgroup/app/memory.pressure': pressure(0, 50),
    });
    const short = fixture.nextEvent();
    fixture.guard.start();
    assert.equal((await short).of, 'machine');
    assert.equal(fixture.guard.held, true);
  });

  it('counts a lower limit of its control group', async () => {
    await using fixture = await guarded({
      'proc/self/cgroup': '0::/app\n',
      'sys/fs/cgroup/app/memory.max': String(11 * MEGABYTE),
    });
    const near = fixture.nextEvent();
    fixture.guard.start();
    assert.deepEqual([(await near).of, fixture.guard.refusal()?.code], ['llamero', 'memory_pressure']);
  });

  it('says nothing where the system tells nothing, and forgets what it decided when it is stopped', async () => {
    await using fixture = await guarded();
    const near = fixture.nextEvent();
    fixture.machine.usedBytes = LIMIT_BYTES;
    fixture.guard.start();
    fixture.guard.start();
    await near;
    fixture.guard.stop();
    fixture.guard.stop();
    assert.equal(fixture.guard.refusal(), null);
    assert.deepEqual(fixture.holds, []);
  });

  it('can collect garbage', () => {
    collectGarbage();
    let garbage: number[][] | null = Array.from({ length: 200_000 }, (_, index) => [index]);
    assert.equal(garbage.length, 200_000);
    garbage = null;
    const before = process.memoryUsage().heapUsed;
    collectGarbage();
    assert.ok(before - process.memoryUsage().heapUsed > 4 * MEGABYTE);
  });
});
