import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { defaultKeyFile } from '../commands/keys.ts';
import { llamero } from './child.ts';

describe('llamero keys', { timeout: 60_000 }, () => {
  let cwd = '';
  before(async () => {
    cwd = await mkdtemp(path.join(os.tmpdir(), 'llamero-keys-'));
  });
  after(() => rm(cwd, { recursive: true }));

  it('adds, lists and revokes', async () => {
    const file = path.join(cwd, 'keys.json');
    const added = await llamero(['keys', 'add', 'my laptop', '--file', file], { cwd });
    assert.equal(added.code, 0, added.stderr);
    assert.match(added.stdout, /^llamero_[\w-]{43}\n$/, 'the key alone, for pipes');
    assert.match(added.stderr, /--api-key-file/);
    assert.ok(!(await readFile(file, 'utf8')).includes(added.stdout.trim()));

    // The variable names the file that is meant where no option does.
    const env = { LLAMERO_API_KEY_FILE: file };
    const listed = await llamero(['keys', 'list', '--json'], { cwd, env });
    const [entry] = JSON.parse(listed.stdout) as Record<string, string>[];
    assert.deepEqual(Object.keys(entry ?? {}), ['id', 'name', 'created']);
    assert.equal(entry?.['name'], 'my laptop');
    assert.match((await llamero(['keys', 'list'], { cwd, env })).stdout, /^key_\w+ .* my laptop\n$/);

    const unknown = await llamero(['keys', 'revoke', 'key_x'], { cwd, env });
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /no key with the id 'key_x'/);
    assert.equal((await llamero(['keys', 'revoke', entry?.['id'] ?? ''], { cwd, env })).code, 0);
    assert.match((await llamero(['keys', 'list'], { cwd, env })).stdout, /^No keys/);
  });

  it('keeps them in the configuration folder of the platform', () => {
    assert.equal(defaultKeyFile({ XDG_CONFIG_HOME: '/c' }, 'linux'), path.join('/c', 'llamero', 'keys.json'));
    assert.match(defaultKeyFile({}, 'linux'), /\.config/);
    assert.match(defaultKeyFile({}, 'darwin'), /Application Support/);
    assert.equal(defaultKeyFile({ APPDATA: 'R' }, 'win32'), path.join('R', 'llamero', 'keys.json'));
  });
});
