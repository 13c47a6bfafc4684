import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { parseConfig } from '../../core/config.ts';
import { LlameroError } from '../../core/errors.ts';
import { parseConfigurationText } from '../configuration-file.ts';
import { loadConfiguration, mergeConfiguration } from '../configuration.ts';
import type { ConfigurationSources } from '../configuration.ts';
import { SERVE_OPTIONS } from '../serve-options.ts';

const folder = resolve('/somewhere/else');

function merge(sources: Partial<ConfigurationSources> & { text?: string }) {
  const file = sources.text === undefined ? null : parseConfigurationText(sources.text, 'llamero.yaml', folder);
  return mergeConfiguration({ flags: {}, env: {}, file, engineArgs: [], ...sources });
}

function problemsOf(sources: Parameters<typeof merge>[0]): string[] {
  try {
    merge(sources);
  } catch (error) {
    assert.ok(error instanceof LlameroError);
    assert.equal(error.code, 'invalid_options');
    return error.details['problems'] as string[];
  }
  throw new Error('expected a refusal');
}

describe('precedence: flag, environment, file, default', () => {
  const text = 'gateway:\n  port: 1001\n';
  const table = [
    { sources: {}, port: 8080, origin: null },
    { sources: { text }, port: 1001, origin: 'llamero.yaml:2' },
    { sources: { text, env: { LLAMERO_PORT: '1002' } }, port: 1002, origin: 'LLAMERO_PORT' },
    { sources: { text, env: { LLAMERO_PORT: '' } }, port: 1001, origin: 'llamero.yaml:2' },
    { sources: { text, env: { LLAMERO_PORT: '1002' }, flags: { port: '1003' } }, port: 1003, origin: '--port' },
    { sources: { flags: { port: 'auto' } }, port: 'auto', origin: '--port' },
  ];
  for (const { sources, port, origin } of table) {
    test(`${JSON.stringify(sources)} gives ${port}`, () => {
      const { config, origin: originOf } = merge(sources);
      assert.equal(config.gateway.port, port);
      assert.equal(originOf('gateway.port'), origin);
    });
  }

  const values: Record<string, [text: string, value: unknown]> = {
    model: ['a/b:Q4_K_M', 'a/b:Q4_K_M'],
    'gateway.host': ['0.0.0.0', '0.0.0.0'],
    'gateway.port': ['9000', 9000],
    'engine.parallel': ['8', 8],
    'engine.ctxSize': ['8192', 8192],
    engineUrl: ['http://127.0.0.1:9', 'http://127.0.0.1:9'],
    'gateway.apiKeyFile': ['keys.json', 'keys.json'],
    'log.level': ['warn', 'warn'],
    'log.format': ['json', 'json'],
  };
  for (const option of SERVE_OPTIONS) {
    test(`${option.key} can be set by flag and by ${option.environment}`, () => {
      const [written, expected] = values[option.key] ?? assert.fail(`no value for ${option.key}`);
      const read = (config: unknown) =>
        option.key.split('.').reduce<unknown>((node, key) => (node as Record<string, unknown>)[key], config);
      assert.equal(read(merge({ flags: { [option.flag ?? 'model']: written } }).config), expected);
      assert.equal(read(merge({ env: { [option.environment]: written } }).config), expected);
    });
  }
});

describe('log level of the environment', () => {
  const table = [
    { env: { LOG_LEVEL: 'DEBUG' }, level: 'debug' },
    { env: { LLAMA_DEBUG: 'true' }, level: 'trace' },
    { env: { LOG_LEVEL: 'debug', LLAMA_DEBUG: 'true' }, level: 'trace' },
    { env: { LOG_LEVEL: 'debug', LLAMA_DEBUG: 'true', LLAMERO_LOG_LEVEL: 'error' }, level: 'error' },
    { env: { LLAMA_DEBUG: 'false' }, level: 'info' },
  ];
  for (const { env, level } of table) {
    test(`${JSON.stringify(env)} gives ${level}`, () => assert.equal(merge({ env }).config.log.level, level));
  }
});

describe('what follows --', () => {
  test('goes to the engine after the arguments of the file', () => {
    const { config } = merge({ text: 'engine: { args: [--mlock] }', engineArgs: ['--threads', '2'] });
    assert.deepEqual(config.engine.args, ['--mlock', '--threads', '2']);
  });
});

describe('mistakes name the option and where it came from', () => {
  const table = [
    {
      sources: { flags: { parallel: 'many' } },
      problems: ['engine.parallel: expected a number, came "many" (from --parallel)'],
    },
    {
      sources: { env: { LLAMERO_PARALLEL: '0' } },
      problems: ['engine.parallel: expected at least 1, came 0 (from LLAMERO_PARALLEL)'],
    },
    {
      sources: { text: 'profile: auto\nengine:\n  parallel: -1\n' },
      problems: ['engine.parallel: expected at least 1, came -1 (from llamero.yaml:3)'],
    },
    {
      sources: { text: 'engine:\n  paralel: 4\nmodell: x\n' },
      problems: ['engine.paralel: unknown key (from llamero.yaml:2)', 'modell: unknown key (from llamero.yaml:3)'],
    },
    {
      sources: { text: 'engine: fast\n', flags: { parallel: '4' } },
      problems: ['engine: expected a object, came "fast" (from llamero.yaml:1)'],
    },
    {
      sources: { text: 'engine:\n  args:\n    - 1\n' },
      problems: ['engine.args[0]: expected a string, came 1 (from llamero.yaml:2)'],
    },
  ];
  for (const { sources, problems } of table) {
    test(problems.join('; '), () => {
      assert.deepEqual(
        problemsOf(sources).map((text) => text.replace('an object', 'a object')),
        problems,
      );
    });
  }

  test('a file that is not YAML is refused with the line', () => {
    assert.throws(() => merge({ text: 'engine:\n  parallel: [1\nport: 2\n' }), /llamero\.yaml:\d+:\d+: /);
  });

  for (const text of ['- a\n- b\n', 'just text', '17']) {
    test(`a file that holds ${JSON.stringify(text)} is refused`, () => {
      assert.throws(() => merge({ text }), /Invalid llamero\.yaml:\n {2}\(root\): expected an? object/);
    });
  }
});

describe('the file', () => {
  test('an empty one is one without settings', () => {
    assert.deepEqual(merge({ text: '# nothing\n' }).config, parseConfig({}));
  });

  test('may be JSON', () => {
    assert.equal(merge({ text: '{ "engine": { "parallel": 2 } }' }).config.engine.parallel, 2);
  });

  test('its relative paths start from its folder', () => {
    const { config } = merge({
      text: 'model: ./m.gguf\nengine: { command: ../bin/llama-server }\ngateway: { apiKeyFile: keys.json }\n',
    });
    assert.equal(config.model, join(folder, 'm.gguf'));
    assert.equal(config.engine.command, resolve(folder, '../bin/llama-server'));
    assert.equal(config.gateway.apiKeyFile, join(folder, 'keys.json'));
  });

  test('a Hugging Face name in it is no path', () => {
    assert.equal(merge({ text: 'model: user/repo:Q8_0\n' }).config.model, 'user/repo:Q8_0');
  });

  test('is --config, else LLAMERO_CONFIG, else ./llamero.yaml', async (t) => {
    const cwd = await mkdtemp(join(tmpdir(), 'llamero-configuration-'));
    t.after(() => rm(cwd, { recursive: true }));
    const load = (flags: Record<string, string>, env: NodeJS.ProcessEnv) => loadConfiguration({ flags, env, cwd });
    assert.equal(load({}, {}).fileName, null);
    await Promise.all(['llamero', 'a', 'b'].map((name) => writeFile(join(cwd, `${name}.yaml`), 'maxQueue: 7\n')));
    assert.equal(load({}, {}).fileName, 'llamero.yaml');
    assert.equal(load({}, { LLAMERO_CONFIG: 'a.yaml' }).fileName, 'a.yaml');
    assert.equal(load({ config: 'b.yaml' }, { LLAMERO_CONFIG: 'a.yaml' }).fileName, 'b.yaml');
    assert.equal(load({ config: 'b.yaml' }, {}).config.maxQueue, 7);
    assert.throws(() => load({ config: 'c.yaml' }, {}), /Cannot read the configuration file c\.yaml/);
  });
});
