import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { createRuntimeDirectory } from '../runtime-directory.ts';

const options = { timeout: 30_000, skip: process.platform === 'win32' && 'modes of POSIX' };

describe('private directories', options, () => {
  it('are made and removed by many at once, and leave no root behind', async () => {
    const place = await mkdtemp(path.join(os.tmpdir(), 'llamero-test-'));
    try {
      const churn = async (): Promise<void> => {
        for (let count = 0; count < 100; count++)
          await (await createRuntimeDirectory({ XDG_RUNTIME_DIR: place })).remove();
      };
      await Promise.all([churn(), churn(), churn(), churn()]);
      assert.deepEqual(await readdir(place), []);
    } finally {
      await rm(place, { recursive: true });
    }
  });

  it('are closed to others, and not made where somebody else has put something', async () => {
    const place = await mkdtemp(path.join(os.tmpdir(), 'llamero-test-'));
    try {
      const directory = await createRuntimeDirectory({ XDG_RUNTIME_DIR: place });
      assert.equal(path.dirname(path.dirname(directory.path)), place);
      assert.equal((await stat(directory.path)).mode & 0o777, 0o700);
      await directory.remove();
      await writeFile(path.join(place, 'llamero'), '');
      const elsewhere = await createRuntimeDirectory({ XDG_RUNTIME_DIR: place });
      assert.notEqual(path.dirname(path.dirname(elsewhere.path)), place);
      await elsewhere.remove();
    } finally {
      await rm(place, { recursive: true });
    }
  });
});
