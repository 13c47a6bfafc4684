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

  it('grants with options, and shows what was granted', async () => {
    const file = path.join(cwd, 'grants.json');
    const add = (...more: string[]) => llamero(['keys', 'add', 'app', '--file', file, ...more], { cwd });
    const limits = ['--requests-per-minute', '60', '--requests-per-hour', '900', '--tokens-per-minute', '5000'];
    const more = ['--tokens-per-day', 'none', '--max-concurrent', '3', '--acts-for-others', '--admin'];
    assert.equal((await add('--user', 'alice', '--weight', '2.5', '--priority', 'batch', ...limits, ...more)).code, 0);
    const listed = await llamero(['keys', 'list', '--file', file, '--json'], { cwd });
    const [{ id: _id, name: _name, created: _created, ...grant }] = JSON.parse(listed.stdout);
    assert.deepEqual(grant, {
      userId: 'alice',
      weight: 2.5,
      priority: 'batch',
      limits: {
        requestsPerMinute: 60,
        requestsPerHour: 900,
        tokensPerMinute: 5000,
        tokensPerDay: null,
        maxConcurrent: 3,
      },
      mayActForOthers: true,
      mayAdminister: true,
    });
    const { stdout } = await llamero(['keys', 'list', '--file', file], { cwd });
    const words =
      'user alice, weight 2.5, batch, 60 req/min, 900 req/h, 5000 tok/min, unlimited tok/day, 3 at once, acts for others, admin';
    assert.match(stdout, new RegExp(`  app  \\(${words}\\)\\n$`));
    for (const [option, value, message] of [
      ['--weight', 'x', /must be a number/],
      ['--weight', '0', /'weight'/],
      ['--priority', 'high', /interactive, default, batch/],
      ['--tokens-per-day', '1.5', /whole number/],
    ] as const) {
      const refused = await add(option, value);
      assert.equal(refused.code, 2, option);
      assert.match(refused.stderr, message);
    }
  });

  it('keeps them in the configuration folder of the platform', () => {
    assert.equal(defaultKeyFile({ XDG_CONFIG_HOME: '/c' }, 'linux'), path.join('/c', 'llamero', 'keys.json'));
    assert.match(defaultKeyFile({}, 'linux'), /\.config/);
    assert.match(defaultKeyFile({}, 'darwin'), /Application Support/);
    assert.equal(defaultKeyFile({ APPDATA: 'R' }, 'win32'), path.join('R', 'llamero', 'keys.json'));
  });
});
