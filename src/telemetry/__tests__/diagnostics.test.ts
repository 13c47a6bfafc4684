import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { LlameroError } from '../../core/errors.ts';
import { filesToRemove, writeDebugFile } from '../debug-folder.ts';
import { Diagnostics } from '../diagnostics.ts';
import { refuseSnapshot } from '../heap-snapshot.ts';

const MEGABYTE = 1024 * 1024;
const hasModes = process.platform !== 'win32';

describe('files for debugging', { timeout: 60_000 }, () => {
  let root = '';
  before(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'llamero-debug-'));
  });
  after(() => rm(root, { recursive: true }));

  it('a heap snapshot is one, and private', async () => {
    const folder = path.join(root, 'cache', 'debug');
    const written: string[] = [];
    const diagnostics = new Diagnostics({
      folder,
      availableBytes: () => Number.MAX_SAFE_INTEGER,
      onFile: ({ file }) => written.push(file),
    });
    const { file, bytes, tookMs } = await diagnostics.heapSnapshot();
    assert.match(path.relative(folder, file), /^llamero-\d{8}T\d{9}Z-\d+\.heapsnapshot$/);
    const { snapshot } = JSON.parse(await readFile(file, 'utf8')) as { snapshot: { node_count: number } };
    assert.ok(snapshot.node_count > 1000 && bytes > 100_000 && tookMs > 0);
    assert.deepEqual(written, [file]);
    assert.deepEqual(await readdir(folder), [path.basename(file)]);
    if (hasModes) assert.deepEqual([await modeOf(folder), await modeOf(file)], [0o700, 0o600]);
  });

  it('a CPU profile is one, and shows what ran', async () => {
    const diagnostics = new Diagnostics({ folder: path.join(root, 'profiles') });
    const burning = setInterval(() => burnOnPurpose(20), 25);
    const { file } = await diagnostics.cpuProfile(1, AbortSignal.timeout(30_000));
    clearInterval(burning);
    const profile = JSON.parse(await readFile(file, 'utf8')) as {
      nodes: { callFrame: { functionName: string } }[];
      startTime: number;
      endTime: number;
    };
    assert.ok(profile.nodes.some(({ callFrame }) => callFrame.functionName === 'burnOnPurpose'));
    assert.ok(profile.endTime - profile.startTime >= 900_000, 'µs');
    if (hasModes) assert.equal(await modeOf(file), 0o600);
  });

  it('one at a time, and an aborted profile leaves nothing behind', async () => {
    const folder = path.join(root, 'alone');
    const diagnostics = new Diagnostics({ folder });
    const gone = new AbortController();
    const profile = diagnostics.cpuProfile(60, gone.signal);
    await assert.rejects(diagnostics.heapSnapshot(), { code: 'already_running', status: 409 });
    await assert.rejects(diagnostics.cpuProfile(1, gone.signal), { code: 'already_running' });
    const reason = new LlameroError('cancelled', 'Gone.');
    gone.abort(reason);
    await assert.rejects(profile, reason);
    assert.deepEqual(await readdir(folder), []);
    assert.ok((await diagnostics.cpuProfile(1, AbortSignal.timeout(30_000))).bytes > 0, 'the next one is let in');
  });

  it('a snapshot is refused where memory would not allow it', async () => {
    const folder = path.join(root, 'tight');
    const diagnostics = new Diagnostics({ folder, availableBytes: () => 80 * MEGABYTE });
    await assert.rejects(diagnostics.heapSnapshot(), (error: LlameroError) => {
      assert.equal(error.code, 'memory_pressure');
      assert.match(error.message, /may need \d+ MB of memory now, and 80 MB are available/);
      return true;
    });
    assert.deepEqual(await readdir(folder), []);
    const room = { heapBytes: 10 * MEGABYTE, availableBytes: 144 * MEGABYTE, freeDiskBytes: 84 * MEGABYTE };
    assert.equal(refuseSnapshot(room), null);
    assert.match(refuseSnapshot({ ...room, availableBytes: 143 * MEGABYTE })?.message ?? '', /144 MB of memory/);
    assert.match(refuseSnapshot({ ...room, freeDiskBytes: 83 * MEGABYTE })?.message ?? '', /84 MB of disk space/);
  });

  it('the oldest go, beyond a number and a size; the newest stays', () => {
    const files = [3, 1, 2].map((age) => ({ name: `f${age}`, bytes: 10, modifiedMs: 1000 - age }));
    assert.deepEqual(filesToRemove(files, { maxFiles: 3, maxBytes: 30 }), []);
    assert.deepEqual(filesToRemove(files, { maxFiles: 2, maxBytes: 30 }), ['f3']);
    assert.deepEqual(filesToRemove(files, { maxFiles: 3, maxBytes: 20 }), ['f3']);
    assert.deepEqual(filesToRemove(files, { maxFiles: 3, maxBytes: 5 }), ['f2', 'f3']);
  });

  it('only files of the kind that was written are removed, and what a dead process left unfinished', async () => {
    const folder = path.join(root, 'many');
    await mkdir(folder);
    const old = new Date(Date.now() - 7_200_000);
    for (const name of [
      'llamero-1.cpuprofile',
      'llamero-1.heapsnapshot',
      'notes.cpuprofile',
      'llamero-2.cpuprofile.part',
    ]) {
      await writeFile(path.join(folder, name), name);
      await utimes(path.join(folder, name), old, old);
    }
    const { file } = await writeDebugFile(folder, 'cpuprofile', writeOpenFile, { maxFiles: 1, maxBytes: 100 });
    const left = ['llamero-1.heapsnapshot', 'notes.cpuprofile', path.basename(file)];
    assert.deepEqual((await readdir(folder)).toSorted(), left.toSorted());
    if (hasModes) assert.equal(await modeOf(file), 0o600);
  });

  if (hasModes) {
    it('a folder that others can enter is closed, and one that is none is refused', async () => {
      const open = path.join(root, 'open');
      await mkdir(open, { mode: 0o755 });
      await chmod(open, 0o777);
      await writeDebugFile(open, 'cpuprofile', (file) => writeFile(file, ''));
      assert.equal(await modeOf(open), 0o700);
      const link = path.join(root, 'link');
      await symlink(open, link);
      await assert.rejects(new Diagnostics({ folder: link }).heapSnapshot(), { code: 'internal_error' });
      const failing = writeDebugFile(open, 'heapsnapshot', () => {
        throw Object.assign(new Error(`ENOSPC: ${open}`), { code: 'ENOSPC' });
      });
      await assert.rejects(failing, { message: 'The debug file could not be written (ENOSPC).' });
    });
  }
});

async function modeOf(file: string): Promise<number> {
  return (await stat(file)).mode & 0o777;
}

async function writeOpenFile(file: string): Promise<void> {
  await writeFile(file, 'new', { mode: 0o644 });
}

function burnOnPurpose(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}
