import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rename, rm, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { EventEmitter } from 'node:events';
import { after, describe, it } from 'node:test';
import { parseConfig } from '../../core/config.ts';
import { createGateway } from '../gateway.ts';
import { type ApiKeyGrant, emptyKeyFile, formatKeyFile, newApiKey, parseKeyFile } from '../key-file.ts';
import { type KeyFileReport, KeyRing } from '../key-ring.ts';
import { addApiKey, listApiKeys, revokeApiKey } from '../key-store.ts';
import { ScriptedBackend } from './scripted-backend.ts';

/** A folder of its own for a key file. */
async function keyFolder() {
  const folder = await mkdtemp(path.join(tmpdir(), 'llamero-keys-'));
  return {
    folder,
    file: path.join(folder, 'keys.json'),
    async [Symbol.asyncDispose]() {
      await rm(folder, { recursive: true });
    },
  };
}

/** A ring whose reloads can be waited for. */
async function openRing(file: string, pollIntervalMs = 30) {
  const reports = new EventEmitter<{ report: [KeyFileReport] }>();
  const ring = await KeyRing.open(file, { pollIntervalMs, onReload: (report) => reports.emit('report', report) });
  return {
    ring,
    next: () => once(reports, 'report').then(([report]) => report as KeyFileReport),
    [Symbol.asyncDispose]: () => ring.stop(),
  };
}

describe('the key file', { timeout: 20_000 }, () => {
  it('holds hashes, is for its owner alone and keeps what it does not know', async () => {
    await using place = await keyFolder();
    const nested = path.join(place.folder, 'new', 'keys.json');
    const { key, entry } = await addApiKey(nested, 'laptop');
    assert.match(key, /^llamero_[\w-]{43}$/);
    const text = await readFile(nested, 'utf8');
    assert.ok(!text.includes(key) && !text.includes(key.slice(8)));
    if (process.platform !== 'win32') assert.equal((await stat(nested)).mode & 0o777, 0o600);
    const content = parseKeyFile(text);
    Object.assign(content, { owner: 'ops' });
    Object.assign(content.keys[0] ?? {}, { team: 'red' });
    await writeFile(nested, formatKeyFile(content));
    await addApiKey(nested, 'second');
    const written = parseKeyFile(await readFile(nested, 'utf8'));
    assert.equal(written['owner'], 'ops');
    assert.equal(written.keys[0]?.['team'], 'red');
    assert.deepEqual(
      (await listApiKeys(nested)).map(({ name }) => name),
      ['laptop', 'second'],
    );
    await revokeApiKey(nested, entry.id);
    assert.deepEqual(
      (await listApiKeys(nested)).map(({ name }) => name),
      ['second'],
    );
    await assert.rejects(revokeApiKey(nested, entry.id), { code: 'not_found' });
    assert.deepEqual(await readdir(path.dirname(nested)), ['keys.json'], 'no temporary file, no lock');
  });

  it('holds what a key grants, and refuses what cannot be granted', async () => {
    await using place = await keyFolder();
    const grant: ApiKeyGrant = {
      userId: 'alice',
      weight: 0.5,
      priority: 'batch',
      limits: { requestsPerHour: 10, tokensPerDay: null },
      mayActForOthers: true,
    };
    const { entry } = await addApiKey(place.file, 'x', grant);
    assert.deepEqual(await listApiKeys(place.file), [entry]);
    assert.deepEqual({ ...entry, ...grant }, entry);
    for (const [wrong, param] of [
      [{ weight: 0 }, 'weight'],
      [{ weight: 101 }, 'weight'],
      [{ userId: '' }, 'userId'],
      [{ userId: 'a\nb' }, 'userId'],
      [{ limits: { maxConcurrent: 0 } }, 'limits.maxConcurrent'],
      [{ limits: { perMinute: 1 } }, 'limits'],
      [{ priority: 'high' }, 'priority'],
    ] as [ApiKeyGrant, string][]) {
      await assert.rejects(addApiKey(place.file, 'x', wrong), { code: 'invalid_options', param });
      const text = formatKeyFile({ version: 1, keys: [{ ...entry, ...wrong }] });
      assert.throws(() => parseKeyFile(text), { code: 'invalid_options', param: `keys.0.${param}` });
    }
  });

  it('loses no key when many are added at once', async () => {
    await using place = await keyFolder();
    await Promise.all(Array.from({ length: 8 }, (_, n) => addApiKey(place.file, `n${n}`)));
    assert.equal((await listApiKeys(place.file)).length, 8);
  });

  it('keeps a symbolic link', async () => {
    await using place = await keyFolder();
    const target = path.join(place.folder, 'real.json');
    await writeFile(target, formatKeyFile(emptyKeyFile()));
    if (!(await canLink(target, place.file))) return;
    await addApiKey(place.file, 'x');
    assert.equal((await listApiKeys(target)).length, 1);
  });

  it('says what is wrong with a broken one, and does not overwrite it', async () => {
    await using place = await keyFolder();
    for (const [text, message] of [
      ['{', /not valid JSON/],
      ['{"version":2,"keys":[]}', /'version'/],
      ['{"version":1,"keys":[{"id":"a","name":"","hash":"short","created":""}]}', /'keys\.0\.hash'/],
      ['[]', /invalid/],
    ] as const) {
      await writeFile(place.file, text);
      await assert.rejects(addApiKey(place.file, 'x'), { code: 'invalid_options', message });
      assert.equal(await readFile(place.file, 'utf8'), text);
      await assert.rejects(KeyRing.open(place.file), { code: 'invalid_options' });
    }
    await unlink(place.file);
    await assert.rejects(KeyRing.open(place.file), { message: 'The API key file does not exist.' });
  });
});

describe('the key ring', { timeout: 20_000 }, () => {
  // A ring holds nothing open, and Node 22 gives up tests that wait while nothing is.
  const awake = setInterval(() => {}, 60_000);
  after(() => clearInterval(awake));

  it('knows its keys and no others', async () => {
    await using place = await keyFolder();
    const keys = await Promise.all(Array.from({ length: 3 }, () => addApiKey(place.file, 'x')));
    await using open = await openRing(place.file);
    for (const { key, entry } of keys) {
      assert.equal(open.ring.verify(key)?.id, entry.id);
      assert.equal(open.ring.verify(`${key} `), null);
      assert.equal(open.ring.verify(entry.hash), null, 'the hash is not the key');
    }
    assert.equal(open.ring.verify(''), null);
    assert.equal(open.ring.size, 3);
  });

  it('follows its file: added, revoked, replaced, rewritten in place', async () => {
    await using place = await keyFolder();
    const first = await addApiKey(place.file, 'first');
    await using open = await openRing(place.file);
    let report = open.next();
    const second = await addApiKey(place.file, 'second');
    assert.deepEqual(await report, { keys: 2 });
    assert.ok(open.ring.verify(second.key));

    report = open.next();
    await revokeApiKey(place.file, first.entry.id);
    assert.deepEqual(await report, { keys: 1 });
    assert.equal(open.ring.verify(first.key), null);

    const third = newApiKey('third', new Date());
    report = open.next();
    await writeFile(`${place.file}.new`, formatKeyFile({ version: 1, keys: [third.entry] }));
    await rename(`${place.file}.new`, place.file);
    assert.deepEqual(await report, { keys: 1 });
    assert.ok(open.ring.verify(third.key));

    report = open.next();
    await writeFile(place.file, formatKeyFile(emptyKeyFile()));
    assert.deepEqual(await report, { keys: 0 });
    assert.equal(open.ring.verify(third.key), null);
  });

  it('keeps the last good keys when the file breaks or vanishes, and says so once', async () => {
    await using place = await keyFolder();
    const { key } = await addApiKey(place.file, 'x');
    const good = await readFile(place.file);
    await using open = await openRing(place.file);
    for (const breakIt of [() => writeFile(place.file, '{"version":'), () => unlink(place.file)]) {
      const report = open.next();
      await breakIt();
      const told = await report;
      assert.ok('error' in told && told.keysKept === 1);
      assert.ok(open.ring.verify(key));
    }
    const report = open.next();
    await writeFile(place.file, good);
    assert.deepEqual(await report, { keys: 1 });
  });

  it('does not depend on notifications', async () => {
    await using place = await keyFolder();
    await using other = await keyFolder();
    await writeFile(path.join(other.folder, 'a'), formatKeyFile(emptyKeyFile()));
    const { key } = await addApiKey(path.join(other.folder, 'b'), 'x');
    // What a mounted secret does: the link's folder sees no change of the file behind it.
    if (!(await canLink(path.join(other.folder, 'a'), place.file))) return;
    await using open = await openRing(place.file);
    const report = open.next();
    await rename(path.join(other.folder, 'b'), path.join(other.folder, 'a'));
    assert.deepEqual(await report, { keys: 1 });
    assert.ok(open.ring.verify(key));
  });

  it('guards a gateway, and is obeyed while that runs', async () => {
    await using place = await keyFolder();
    const { key, entry } = await addApiKey(place.file, 'x');
    const reports = new EventEmitter<{ report: [KeyFileReport] }>();
    await using gateway = createGateway({
      provider: new ScriptedBackend(),
      config: parseConfig({ gateway: { port: 'auto', apiKeyFile: place.file } }),
      onKeyFile: (report) => reports.emit('report', report),
    });
    const { url } = await gateway.listen();
    const status = (headers: Record<string, string>, where = '/v1/models') =>
      fetch(url + where, { headers }).then((response) => response.status);
    assert.equal(await status({}), 401);
    assert.equal(await status({}, '/nope'), 401);
    assert.equal(await status({}, '/admin/status'), 401);
    assert.equal(await status({}, '/health'), 200);
    assert.equal(await status({ authorization: `Bearer ${key}` }), 200);
    assert.equal(await status({ 'x-api-key': key }), 200);
    assert.equal(await status({ authorization: `Bearer ${key}x` }), 401);
    const refused = await fetch(`${url}/v1/models`);
    assert.equal(refused.headers.get('www-authenticate'), 'Bearer');
    const reloaded = once(reports, 'report');
    await revokeApiKey(place.file, entry.id);
    await reloaded;
    assert.equal(await status({ authorization: `Bearer ${key}` }), 401);
  });
});

/** Windows lets only some users make symbolic links. */
async function canLink(target: string, link: string): Promise<boolean> {
  try {
    await symlink(target, link);
    return true;
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'EPERM');
    return false;
  }
}
