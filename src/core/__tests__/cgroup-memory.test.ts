import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { readCgroupMemory } from '../cgroup-memory.ts';

/** A root directory with these files in it, gone afterwards. */
async function rootWith(files: Record<string, string>): Promise<{ path: string } & AsyncDisposable> {
  const root = await mkdtemp(path.join(os.tmpdir(), 'llamero-cgroup-'));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(root, name)), { recursive: true });
    await writeFile(path.join(root, name), text);
  }
  return { path: root, [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }) };
}

const PRESSURE = 'some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n';

describe('the memory of a control group', () => {
  const table: [name: string, files: Record<string, string>, limitBytes: number | null, pressureFile: string | null][] =
    [
      ['none outside of Linux', {}, null, null],
      [
        'v2: its own limit',
        {
          'proc/self/cgroup': '0::/app\n',
          'sys/fs/cgroup/app/memory.max': '500000\n',
          'sys/fs/cgroup/app/memory.pressure': PRESSURE,
        },
        500_000,
        'sys/fs/cgroup/app/memory.pressure',
      ],
      [
        'v2: a lower limit further up counts',
        {
          'proc/self/cgroup': '0::/a/b/c\n',
          'sys/fs/cgroup/a/b/c/memory.max': 'max\n',
          'sys/fs/cgroup/a/b/memory.max': '900000\n',
          'sys/fs/cgroup/a/memory.max': '400000\n',
          'sys/fs/cgroup/a/b/c/memory.pressure': PRESSURE,
          'sys/fs/cgroup/a/memory.pressure': PRESSURE,
        },
        400_000,
        'sys/fs/cgroup/a/b/c/memory.pressure',
      ],
      [
        'v2 in a container that sees only its own group, but the path from outside',
        {
          'proc/self/cgroup': '0::/docker/0123\n',
          'sys/fs/cgroup/memory.max': '700000\n',
          'sys/fs/cgroup/memory.pressure': PRESSURE,
        },
        700_000,
        'sys/fs/cgroup/memory.pressure',
      ],
      ['v2 without a limit', { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/memory.max': 'max\n' }, null, null],
      [
        'v1',
        {
          'proc/self/cgroup': '9:cpu,cpuacct:/app\n4:memory:/app\n',
          'sys/fs/cgroup/memory/app/memory.limit_in_bytes': '300000\n',
          'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
        },
        300_000,
        null,
      ],
      [
        'v1 without a limit, beside v2',
        {
          'proc/self/cgroup': '4:memory:/app\n0::/\n',
          'sys/fs/cgroup/memory/app/memory.limit_in_bytes': '9223372036854771712\n',
        },
        null,
        null,
      ],
      [
        'a limit above what the machine has is none',
        { 'proc/self/cgroup': '0::/app\n', 'sys/fs/cgroup/app/memory.max': `${os.totalmem() * 2}\n` },
        null,
        null,
      ],
    ];
  for (const [name, files, limitBytes, pressureFile] of table) {
    it(name, async () => {
      await using root = await rootWith(files);
      assert.deepEqual(await readCgroupMemory(root.path), {
        limitBytes,
        pressureFile: pressureFile === null ? null : path.join(root.path, pressureFile),
      });
    });
  }

  it('reads that of this process', async () => {
    const { limitBytes } = await readCgroupMemory();
    assert.ok(limitBytes === null || limitBytes > 0);
  });
});
