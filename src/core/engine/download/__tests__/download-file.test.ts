import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { LlameroError } from '../../../errors.ts';
import { statusError } from '../download-failure.ts';
import { downloadFile } from '../download-file.ts';
import type { DownloadOptions } from '../download-file.ts';
import { bytesOf } from '../file-size.ts';
import { createHttpClient } from '../http-client.ts';
import type { HttpClient } from '../http-client.ts';
import type { TransferProgress } from '../progress-meter.ts';
import { sha256, startFileMirror } from './file-mirror.ts';
import type { FileMirror, MirrorFile } from './file-mirror.ts';

const content = randomBytes(3_000_000);
const TIMEOUT = { timeout: 30_000 };

const failsWith = (code: string, pattern: RegExp) => (error: unknown) =>
  error instanceof LlameroError && error.code === code && pattern.test(error.message);

const hubError = (status: number, what: string) => statusError(status, what, true);

describe('downloadFile', () => {
  let directory: string;
  let mirror: FileMirror;
  let client: HttpClient;
  let number = 0;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'llamero-download-'));
    mirror = await startFileMirror();
    client = createHttpClient({ env: {} });
  });
  after(async () => {
    await client[Symbol.asyncDispose]();
    await mirror[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  /** A file of the mirror with a folder of its own, so that tests do not meet. */
  function place(file: MirrorFile): DownloadOptions & { folder: string; path: string } {
    number += 1;
    const path = `/${number}/model.gguf`;
    mirror.files.set(path, file);
    const folder = join(directory, String(number));
    return { url: new URL(mirror.url + path), target: join(folder, 'model.gguf'), client, folder, path };
  }

  const seen = (path: string) => mirror.requests.filter((request) => request.path === path);

  it('stores the file, tells progress, verifies the checksum and leaves nothing else', TIMEOUT, async () => {
    const request = place({ content, etag: `"${sha256(content)}"` });
    const progress: TransferProgress[] = [];
    const checksum = await downloadFile({ ...request, onProgress: (news) => progress.push(news) });
    assert.deepEqual(checksum, { algorithm: 'sha256', hex: sha256(content) });
    assert.deepEqual(await readFile(request.target), content);
    assert.deepEqual(await readdir(request.folder), ['model.gguf']);
    assert.deepEqual(new Set(progress.map((news) => news.step)), new Set(['download', 'verify']));
    assert.match(progress.findLast((news) => news.step === 'download')!.message, /3\.00 MB of 3\.00 MB/);
    assert.equal(progress.at(-1)!.fraction, 1);
  });

  it('does not ask the server for what is there', TIMEOUT, async () => {
    const request = place({ content });
    await downloadFile(request);
    mirror.files.delete(request.path);
    assert.equal(await downloadFile(request), null);
    assert.equal(seen(request.path).length, 1);
  });

  it('goes on where the connection broke', TIMEOUT, async () => {
    const request = place({ content, etag: '"v1"', cutAfter: [1_000_000, 500_000] });
    await downloadFile(request);
    assert.deepEqual(await readFile(request.target), content);
    const ranges = seen(request.path).map(({ range, ifRange }) => ({ begun: range !== undefined, ifRange }));
    assert.deepEqual(ranges, [
      { begun: false, ifRange: undefined },
      { begun: true, ifRange: '"v1"' },
      { begun: true, ifRange: '"v1"' },
    ]);
  });

  it('goes on in a later run, after a cancelled one', TIMEOUT, async () => {
    const holding = Promise.withResolvers<void>();
    const request = place({ content, etag: '"v1"', holdUntil: holding.promise });
    const controller = new AbortController();
    const rejected = assert.rejects(
      downloadFile({ ...request, signal: controller.signal }),
      failsWith('cancelled', /kept/),
    );
    while ((await bytesOf(`${request.target}.part`)) !== content.length / 2) await setImmediate();
    controller.abort();
    await rejected;
    holding.resolve();
    mirror.files.set(request.path, { content, etag: '"v1"' });
    await downloadFile(request);
    assert.deepEqual(await readFile(request.target), content);
    const last = seen(request.path).at(-1)!;
    assert.equal(last.ifRange, '"v1"');
    assert.ok(Number(/\d+/.exec(last.range!)![0]) > 0);
  });

  it('begins anew when the file changed in between', TIMEOUT, async () => {
    const other = randomBytes(2_000_000);
    const request = place({ content, etag: '"v1"', cutAfter: [1_000_000] });
    await downloadFile({
      ...request,
      onProgress: () => mirror.files.set(request.path, { content: other, etag: '"v2"' }),
    });
    assert.deepEqual(await readFile(request.target), other);
  });

  it('begins anew when bytes of an earlier run do not fit the checksum', TIMEOUT, async () => {
    const request = place({ content });
    const checksum = { algorithm: 'sha256', hex: sha256(content) } as const;
    await downloadFile({ ...place({ content: Buffer.from('x') }), target: join(request.folder, 'other') });
    await writeFile(`${request.target}.part`, randomBytes(1_000_000));
    await writeFile(
      `${request.target}.part.json`,
      JSON.stringify({ url: request.url.href, validator: null, checksum }),
    );
    await downloadFile({ ...request, checksum });
    assert.deepEqual(await readFile(request.target), content);
    assert.equal(seen(request.path).length, 2);
  });

  it('copes with a server that knows no ranges', TIMEOUT, async () => {
    const request = place({ content, etag: '"v1"', cutAfter: [1_000_000], noRanges: true });
    await downloadFile(request);
    assert.deepEqual(await readFile(request.target), content);
  });

  it('refuses and removes what does not match its checksum', TIMEOUT, async () => {
    const request = place({ content, headers: { 'repr-digest': `sha-256=:${Buffer.alloc(32).toString('base64')}:` } });
    await assert.rejects(downloadFile(request), failsWith('install_failed', /corrupted.*removed/));
    assert.deepEqual(await readdir(request.folder), []);
  });

  it('says when the server tells no checksum', TIMEOUT, async () => {
    const messages: string[] = [];
    const request = place({ content });
    assert.equal(await downloadFile({ ...request, onProgress: ({ message }) => messages.push(message) }), null);
    assert.match(messages.at(-1)!, /no checksum/);
  });

  it('names both numbers when the disk is too small, before it stores anything', TIMEOUT, async () => {
    const request = place({ content });
    const full = downloadFile({ ...request, freeBytes: () => Promise.resolve(1_000_000) });
    await assert.rejects(full, failsWith('install_failed', /needs 3\.00 MB.*only 1\.00 MB are free/));
    assert.deepEqual(await readdir(request.folder), []);
  });

  for (const [status, hub, pattern] of [
    [404, false, /There is no model\.gguf \(404\)/],
    [401, true, /refused \(401\).*HF_TOKEN/],
    [403, true, /accept its conditions.*HF_TOKEN/],
    [404, true, /HF_TOKEN/],
  ] as const) {
    it(`explains ${status}${hub ? ' of the hub' : ''}`, TIMEOUT, async () => {
      const request = place({ content, status });
      await assert.rejects(
        downloadFile({ ...request, explainStatus: hub ? hubError : statusError }),
        failsWith('model_not_found', pattern),
      );
      assert.equal(seen(request.path).length, 1);
    });
  }

  it('tries again after a passing failure of the server', TIMEOUT, async () => {
    const request = place({ content, status: 503 });
    const wanted = downloadFile(request);
    while (seen(request.path).length === 0) await setImmediate();
    mirror.files.set(request.path, { content });
    await wanted;
    assert.deepEqual(await readFile(request.target), content);
  });

  it('tells within seconds that nobody answers', TIMEOUT, async () => {
    const begin = performance.now();
    const gone = await startFileMirror();
    const url = new URL(`${gone.url}/model.gguf`);
    await gone[Symbol.asyncDispose]();
    const request = { ...place({ content }), url };
    await assert.rejects(downloadFile(request), failsWith('install_failed', /refuses connections/));
    assert.ok(performance.now() - begin < 5000);
  });

  it('sends a token to the first origin only, and finds the checksum in the redirect', TIMEOUT, async () => {
    await using storage = await startFileMirror({ '/blob': { content } });
    const request = place({
      content,
      redirect: `${storage.url}/blob`,
      headers: { 'x-linked-etag': `"${sha256(content)}"` },
    });
    const checksum = await downloadFile({ ...request, headers: { authorization: 'Bearer hf_secret' } });
    assert.equal(checksum?.hex, sha256(content));
    assert.equal(seen(request.path)[0]!.authorization, 'Bearer hf_secret');
    assert.equal(storage.requests[0]!.authorization, undefined);
  });

  it('does not follow a redirect away from https and this machine', TIMEOUT, async () => {
    const request = place({ content, redirect: 'http://192.0.2.1/model.gguf' });
    await assert.rejects(downloadFile(request), failsWith('install_failed', /does not follow/));
  });

  it('downloads once when several want the same file', TIMEOUT, async () => {
    const request = place({ content, etag: `"${sha256(content)}"` });
    await Promise.all([downloadFile(request), downloadFile(request), downloadFile(request)]);
    assert.equal(seen(request.path).length, 1);
    assert.deepEqual(await readdir(request.folder), ['model.gguf']);
  });
});
