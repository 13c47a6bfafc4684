import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type ConfigInput, parseConfig } from '../../core/config.ts';
import { writeFakeLlamaServerCommand, writeTinyModel } from '../../testing/index.ts';
import { planReload } from '../serve/plan-reload.ts';
import { startLlamero } from './child.ts';

describe('what a configuration that is read again changes', () => {
  const before: ConfigInput = { model: './a.gguf', engine: { parallel: 4, args: ['-t', '1'] }, maxQueue: 10 };
  const table: [name: string, after: ConfigInput, engineKeys: string[], otherKeys: string[]][] = [
    ['nothing', before, [], []],
    ['the model', { ...before, model: './b.gguf' }, ['model'], []],
    ['slots', { ...before, engine: { ...before.engine, parallel: 2 } }, ['engine.parallel'], []],
    ['options of llama-server', { ...before, engine: { ...before.engine, args: ['-t', '2'] } }, ['engine.args'], []],
    [
      'when it is restarted',
      { ...before, engine: { ...before.engine, restart: { delay: 1 } } },
      ['engine.restart.delay'],
      [],
    ],
    ['what llamero is started with', { ...before, maxQueue: 5, log: { level: 'warn' } }, [], ['maxQueue', 'log.level']],
    [
      'an engine of somebody else',
      { ...before, engineUrl: 'http://127.0.0.1:1', model: './b.gguf' },
      [],
      ['model', 'engineUrl'],
    ],
  ];
  for (const [name, after, engineKeys, otherKeys] of table) {
    test(name, () => {
      assert.deepEqual(planReload(parseConfig(before), parseConfig(after)), { engineKeys, otherKeys });
    });
  }
});

describe('SIGHUP', { timeout: 60_000, skip: process.platform === 'win32' && 'there is no such signal' }, () => {
  test('replaces the engine where its settings changed, and a mistake changes nothing', async () => {
    const cwd = await mkdtemp(join(tmpdir(), 'llamero-reload-'));
    try {
      await using double = await writeFakeLlamaServerCommand();
      await writeTinyModel(join(cwd, 'model.gguf'));
      const configure = (text: string) => writeFile(join(cwd, 'llamero.yaml'), `model: ./model.gguf\n${text}`);
      await configure('engine: { parallel: 2 }\n');
      const env = { LLAMA_SERVER_PATH: double.command, LLAMERO_CACHE_DIR: join(cwd, 'cache') };
      await using server = startLlamero(['serve', '--port', 'auto'], { cwd, env });
      const { url } = await server.record('serving');
      const slots = async () => {
        const properties = (await (await fetch(`${String(url)}/props`)).json()) as { total_slots: number };
        return properties.total_slots;
      };
      assert.equal(await slots(), 2);

      await configure('engine: { parallel: two }\n');
      server.child.kill('SIGHUP');
      const refused = await server.record('configuration not read again; it stays as it is');
      assert.match(
        String(refused['error']),
        /engine\.parallel: expected a number, came "two" \(from llamero\.yaml:2\)/,
      );

      await configure('engine: { parallel: 3 }\nmaxQueue: 7\n');
      server.child.kill('SIGHUP');
      const { keys } = await server.record('changed keys that need a restart of llamero itself');
      assert.deepEqual(keys, ['maxQueue']);
      const { from, to, overlap } = await server.record('planned restart: The engine was replaced without a gap.');
      assert.deepEqual([from, to, overlap], [1, 2, true]);
      assert.equal(await slots(), 3);

      server.child.kill('SIGHUP');
      await server.record('configuration read again; nothing of the engine has changed, and it goes on');

      await configure('engine: { parallel: 1 }\n');
      await rm(join(cwd, 'model.gguf'));
      server.child.kill('SIGHUP');
      await server.record('engine not replaced; its settings stay as they are');
      assert.equal(await slots(), 3);
      server.child.kill('SIGTERM');
      assert.equal((await server.ended).code, 0);
    } finally {
      await rm(cwd, { recursive: true, maxRetries: 5 });
    }
  });
});
