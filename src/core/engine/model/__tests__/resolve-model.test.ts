import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { writeTinyModel } from '../../../../testing/write-tiny-model.ts';
import { LlameroError } from '../../../errors.ts';
import { resolveModel } from '../resolve-model.ts';
import { sha256, startFileMirror } from '../../download/__tests__/file-mirror.ts';
import { COMMIT, startHubMirror } from './hub-mirror.ts';

const TIMEOUT = { timeout: 30_000 };
let directory: string;
let modelPath: string;
let model: Buffer;
let number = 0;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'llamero-model-'));
  modelPath = join(directory, 'tiny-F32.gguf');
  await writeTinyModel(modelPath);
  model = await readFile(modelPath);
});
after(async () => {
  await rm(directory, { recursive: true });
});

const folder = () => join(directory, `case-${(number += 1)}`);
const failsWith = (code: string, pattern: RegExp) => (error: unknown) =>
  error instanceof LlameroError && error.code === code && pattern.test(error.message);

const resolve = (reference: string) => resolveModel({ reference, env: { HOME: directory } });
const files = () => ({
  'README.md': Buffer.from('# a model'),
  'tiny-Q8_0.gguf': Buffer.concat([model, Buffer.from('8')]),
  'tiny-Q4_K_M.gguf': model,
  'mmproj-F16.gguf': model,
});

describe('resolveModel: a path', () => {
  it('finds a whole model', TIMEOUT, async () => {
    assert.deepEqual(await resolve(modelPath), {
      path: modelPath,
      name: 'tiny-F32',
      bytes: model.length,
      poolingType: 1,
    });
    assert.equal((await resolve('~/tiny-F32.gguf')).path, modelPath);
  });

  it('names a missing file and what to do', TIMEOUT, async () => {
    await assert.rejects(resolve('/nowhere/model.gguf'), failsWith('model_not_found', /no model at.*user\/repo/));
  });

  it('refuses a directory', TIMEOUT, async () => {
    await assert.rejects(resolve(directory), failsWith('invalid_options', /directory/));
  });

  for (const [name, content, pattern] of [
    ['an empty file', '', /is empty/],
    ['a text', 'hello world', /not a GGUF/],
    ['a web page', '<!DOCTYPE html><html></html>', /web page/],
    ['an LFS pointer', 'version https://git-lfs.github.com/spec/v1\noid sha256:00\n', /git lfs pull/],
    ['an old GGML file', 'tjgg1234', /old GGML format/],
    ['a lone magic', 'GGUF', /cut off/],
  ] as const) {
    it(`refuses ${name}`, TIMEOUT, async () => {
      const path = join(directory, `foreign-${(number += 1)}.gguf`);
      await writeFile(path, content);
      await assert.rejects(resolve(path), failsWith('invalid_options', pattern));
    });
  }

  it('finds a cut at every place', TIMEOUT, async () => {
    const path = join(directory, 'cut.gguf');
    await writeFile(path, model);
    for (const bytes of [model.length - 1, model.length >> 1, 20_000, 1000, 24, 23, 7]) {
      await truncate(path, bytes);
      await assert.rejects(resolve(path), failsWith('invalid_options', /cut off/), `${bytes} bytes`);
    }
  });

  it('wants all parts of a split model, whichever is named', TIMEOUT, async () => {
    const first = join(directory, 'split-00001-of-00002.gguf');
    const second = join(directory, 'split-00002-of-00002.gguf');
    await writeFile(first, model);
    await assert.rejects(resolve(first), failsWith('model_not_found', /split into 2 files.*00002-of-00002/));
    await writeFile(second, model);
    const expected = { path: first, name: 'split', bytes: 2 * model.length, poolingType: 1 };
    assert.deepEqual(await resolve(first), expected);
    assert.deepEqual(await resolve(second), expected);
  });

  it('prefers a local file to a repository of that name', TIMEOUT, async () => {
    const relative = 'user/repo/local.gguf';
    await mkdir(join(directory, 'user/repo'), { recursive: true });
    await writeFile(join(directory, relative), model);
    assert.equal((await resolve(`~/${relative}`)).path, join(directory, relative));
  });
});

describe('resolveModel: an address', () => {
  it('downloads once into the cache', TIMEOUT, async () => {
    await using mirror = await startFileMirror({ '/models/my%20model.gguf': { content: model, etag: '"v1"' } });
    const env = { LLAMERO_CACHE_DIR: folder() };
    const reference = `${mirror.url}/models/my%20model.gguf`;
    const resolved = await resolveModel({ reference, env });
    assert.equal(resolved.name, 'my_model');
    assert.equal(resolved.bytes, model.length);
    assert.ok(resolved.path.startsWith(join(env.LLAMERO_CACHE_DIR, 'models')));
    assert.deepEqual(await resolveModel({ reference, env }), resolved);
    assert.equal(mirror.requests.length, 1);
  });

  it('gathers the parts of a split model in one folder', TIMEOUT, async () => {
    await using mirror = await startFileMirror({
      '/m-00001-of-00002.gguf': { content: model },
      '/m-00002-of-00002.gguf': { content: model },
    });
    const env = { LLAMERO_CACHE_DIR: folder() };
    const resolved = await resolveModel({ reference: `${mirror.url}/m-00002-of-00002.gguf`, env });
    assert.equal(resolved.bytes, 2 * model.length);
    assert.match(resolved.path, /m-00001-of-00002\.gguf$/);
  });

  it('does not keep a web page as a model', TIMEOUT, async () => {
    await using mirror = await startFileMirror({ '/model.gguf': { content: Buffer.from('<html>log in</html>') } });
    const env = { LLAMERO_CACHE_DIR: folder() };
    const reference = `${mirror.url}/model.gguf`;
    await assert.rejects(resolveModel({ reference, env }), failsWith('invalid_options', /web page/));
    mirror.files.set('/model.gguf', { content: model });
    assert.equal((await resolveModel({ reference, env })).bytes, model.length);
  });
});

describe('resolveModel: a Hugging Face name', () => {
  it('chooses, names the choice, and fills the cache that other tools share', TIMEOUT, async () => {
    await using mirror = await startHubMirror('user/tiny-GGUF', files());
    const env = { HF_ENDPOINT: `${mirror.url}/`, HF_HUB_CACHE: folder(), HF_TOKEN: 'hf_secret' };
    const messages: string[] = [];
    const onProgress = (news: { message: string }) => messages.push(news.message);
    const resolved = await resolveModel({ reference: 'user/tiny-GGUF', env, onProgress });

    const repository = join(env.HF_HUB_CACHE, 'models--user--tiny-GGUF');
    assert.deepEqual(resolved, {
      path: join(repository, 'snapshots', COMMIT, 'tiny-Q4_K_M.gguf'),
      name: 'tiny-Q4_K_M',
      chosen: 'Q4_K_M',
      bytes: model.length,
      poolingType: 1,
    });
    assert.equal(await readFile(join(repository, 'refs/main'), 'utf8'), COMMIT);
    assert.deepEqual(await readdir(join(repository, 'blobs')), [sha256(model)]);
    if (process.platform !== 'win32') assert.equal(await readlink(resolved.path), `../../blobs/${sha256(model)}`);
    assert.ok(messages.some((message) => /Taking Q4_K_M of user\/tiny-GGUF/.test(message)));
    assert.ok(mirror.hub.requests.every((request) => request.authorization === 'Bearer hf_secret'));
    assert.ok(mirror.storage.requests.every((request) => request.authorization === undefined));
  });

  it('needs no network for what is in the cache', TIMEOUT, async () => {
    const env = { HF_HOME: folder(), HF_ENDPOINT: '', HF_HUB_OFFLINE: '1' };
    const first = await startHubMirror('user/tiny-GGUF', files());
    const online = { ...env, HF_ENDPOINT: first.url, HF_HUB_OFFLINE: '' };
    const resolved = await resolveModel({ reference: 'user/tiny-GGUF:q8_0', env: online });
    await first[Symbol.asyncDispose]();
    assert.equal(resolved.chosen, 'Q8_0');
    for (const reference of ['user/tiny-GGUF:Q8_0', 'user/tiny-GGUF/tiny-Q8_0.gguf', 'user/tiny-GGUF']) {
      assert.deepEqual(await resolveModel({ reference, env }), resolved);
    }
    const other = resolveModel({ reference: 'user/tiny-GGUF:Q4_K_M', env });
    await assert.rejects(other, failsWith('model_not_found', /not in the Hugging Face cache/));
  });

  it('fetches all parts of a split model', TIMEOUT, async () => {
    const names = ['Q4_K_M/t-Q4_K_M-00001-of-00002.gguf', 'Q4_K_M/t-Q4_K_M-00002-of-00002.gguf'];
    await using mirror = await startHubMirror('user/split', {
      [names[0]!]: model,
      [names[1]!]: Buffer.concat([model, Buffer.from('2')]),
    });
    const env = { HF_ENDPOINT: mirror.url, HF_HUB_CACHE: folder() };
    const resolved = await resolveModel({ reference: 'user/split', env });
    assert.equal(resolved.bytes, 2 * model.length + 1);
    assert.ok(resolved.path.replaceAll('\\', '/').endsWith(names[0]!));
    assert.ok(existsSync(resolved.path.replace('00001-of', '00002-of')));
  });

  it('checks small files by their git blob id', TIMEOUT, async () => {
    await using mirror = await startHubMirror('user/small', { 'small.gguf': Buffer.from('GGUF but not a model') });
    const env = { HF_ENDPOINT: mirror.url, HF_HUB_CACHE: folder() };
    // It comes through the checksum, and is then no model.
    await assert.rejects(resolveModel({ reference: 'user/small', env }), failsWith('invalid_options', /cut off/));
  });

  it('refuses bytes that are not those of the listing', TIMEOUT, async () => {
    await using mirror = await startHubMirror('user/tiny-GGUF', files());
    const env = { HF_ENDPOINT: mirror.url, HF_HUB_CACHE: folder() };
    mirror.storage.files.set(`/storage/${sha256(model)}`, { content: Buffer.alloc(model.length) });
    const wanted = resolveModel({ reference: 'user/tiny-GGUF', env });
    await assert.rejects(wanted, failsWith('install_failed', /is corrupted/));
    assert.deepEqual(await readdir(join(env.HF_HUB_CACHE, 'models--user--tiny-GGUF/blobs')), []);
  });

  it('lists the quantisations when the wished one is missing', TIMEOUT, async () => {
    await using mirror = await startHubMirror('user/tiny-GGUF', files());
    const env = { HF_ENDPOINT: mirror.url, HF_HUB_CACHE: folder() };
    const wanted = resolveModel({ reference: 'user/tiny-GGUF:Q5_K_M', env });
    await assert.rejects(wanted, failsWith('model_not_found', /no "Q5_K_M".*Q8_0, Q4_K_M/));
  });

  for (const status of [401, 403, 404]) {
    it(`names HF_TOKEN when the hub answers ${status}`, TIMEOUT, async () => {
      await using mirror = await startHubMirror('user/private', files(), status);
      const env = { HF_ENDPOINT: mirror.url, HF_HUB_CACHE: folder() };
      const wanted = resolveModel({ reference: 'user/private', env });
      await assert.rejects(wanted, failsWith('model_not_found', /user\/private.*HF_TOKEN/));
    });
  }

  it('tells when the hub cannot be reached', TIMEOUT, async () => {
    const mirror = await startHubMirror('user/tiny-GGUF', {});
    await mirror[Symbol.asyncDispose]();
    const env = { HF_ENDPOINT: mirror.url, HF_HUB_CACHE: folder() };
    const wanted = resolveModel({ reference: 'user/tiny-GGUF', env });
    await assert.rejects(wanted, failsWith('install_failed', /refuses connections/));
  });

  it('refuses an endpoint without encryption', TIMEOUT, async () => {
    const env = { HF_ENDPOINT: 'http://192.0.2.1', HF_HUB_CACHE: folder() };
    await assert.rejects(resolveModel({ reference: 'user/repo', env }), failsWith('invalid_options', /HF_ENDPOINT/));
  });
});
