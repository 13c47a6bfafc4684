import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { writeTinyModel } from '../../../../testing/write-tiny-model.ts';
import { bytesOf } from '../../download/file-size.ts';
import type { ResolvedModel } from '../resolve-model.ts';
import { urlCachePath } from '../url-model.ts';
import { sha256, startFileMirror } from '../../download/__tests__/file-mirror.ts';

const PROGRAM = join(import.meta.dirname, 'download-process.ts');
const TIMEOUT = { timeout: 60_000 };
let directory: string;
let model: Buffer;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'llamero-processes-'));
  await writeTinyModel(join(directory, 'tiny.gguf'));
  model = await readFile(join(directory, 'tiny.gguf'));
});
after(async () => {
  await rm(directory, { recursive: true });
});

function start(reference: string, cache: string): ChildProcess {
  return spawn(process.execPath, [PROGRAM, reference, cache], { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function result(child: ChildProcess): Promise<ResolvedModel> {
  return JSON.parse(await text(child.stdout!)) as ResolvedModel;
}

describe('downloads of several processes', () => {
  it('come once', TIMEOUT, async () => {
    await using mirror = await startFileMirror({ '/tiny.gguf': { content: model, etag: `"${sha256(model)}"` } });
    const cache = join(directory, 'once');
    const children = [0, 1, 2].map(() => start(`${mirror.url}/tiny.gguf`, cache));
    const models = await Promise.all(children.map((child) => result(child)));
    assert.equal(new Set(models.map(({ path }) => path)).size, 1);
    assert.deepEqual(await readFile(models[0]!.path), model);
    assert.equal(mirror.requests.length, 1);
  });

  it('go on after a process was killed in the middle', TIMEOUT, async () => {
    const holding = Promise.withResolvers<void>();
    const file = { content: model, etag: `"${sha256(model)}"` };
    await using mirror = await startFileMirror({ '/tiny.gguf': { ...file, holdUntil: holding.promise } });
    const cache = join(directory, 'killed');
    const url = new URL(`${mirror.url}/tiny.gguf`);
    const target = urlCachePath(url, url, { LLAMERO_CACHE_DIR: cache });
    const half = model.length >> 1;
    const victim = start(url.href, cache);
    while ((await bytesOf(`${target}.part`)) !== half) await setImmediate();
    victim.kill('SIGKILL');
    await once(victim, 'exit');
    holding.resolve();

    mirror.files.set('/tiny.gguf', file);
    const resolved = await result(start(url.href, cache));
    assert.deepEqual(await readFile(resolved.path), model);
    assert.deepEqual(await readdir(join(resolved.path, '..')), ['tiny.gguf']);
    assert.equal(mirror.requests.at(-1)!.range, `bytes=${half}-`);
  });
});
