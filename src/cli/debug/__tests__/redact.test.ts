import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  createRedactor,
  isSecretVariable,
  redactDeep,
  secretsOfAddress,
  secretsOfConfiguration,
  secretsOfEnvironment,
} from '../redact.ts';

describe('secrets are taken out', () => {
  const redact = createRedactor(['pass"word', 'pass"word-and-more', 'abc'], ['/home/alice', '/home/alice/work', '']);
  for (const [what, text, clean] of [
    ['known ones, the longer first', 'x pass"word-and-more pass"word', 'x *** ***'],
    ['within JSON', JSON.stringify({ a: 'pass"word' }), '{"a":"***"}'],
    ['within an address', `?x=${encodeURIComponent('pass"word')}`, '?x=***'],
    ['short ones stay where they are words', 'abcdef', 'abcdef'],
    [
      'keys of llamero and others',
      `llamero_${'a'.repeat(43)} hf_abcdefghijk sk-abcdefghijkl`,
      'llamero_*** hf_*** sk-***',
    ],
    ['headers', 'authorization: Bearer abc.def-ghi', 'authorization: Bearer ***'],
    ['credentials of addresses', 'GET https://bob:hush@host/x', 'GET https://***@host/x'],
    [
      'telling parts of queries',
      'https://h/m.gguf?a=1&X-Amz-Signature=3f3f&b=2',
      'https://h/m.gguf?a=1&X-Amz-Signature=***&b=2',
    ],
    ['the home folder, the deepest first', '/home/alice/work/m.gguf /home/alice/.cache', '~/m.gguf ~/.cache'],
    [
      'nothing else',
      'llamero-tiny at http://127.0.0.1:8080, key_0123456789ab',
      'llamero-tiny at http://127.0.0.1:8080, key_0123456789ab',
    ],
  ] as const) {
    it(what, () => assert.equal(redact(text), clean));
  }

  it('of values of any shape', () => {
    const value = { 'pass"word': ['pass"word', 1, null, { a: true }] };
    assert.deepEqual(redactDeep(value, redact), { '***': ['***', 1, null, { a: true }] });
  });
});

describe('secrets are found', () => {
  it('among variables', () => {
    for (const name of [
      'HF_TOKEN',
      'LLAMERO_API_KEY',
      'AWS_SECRET_ACCESS_KEY',
      'PGPASSWORD',
      'OTEL_EXPORTER_OTLP_HEADERS',
    ]) {
      assert.ok(isSecretVariable(name), name);
    }
    for (const name of ['LLAMERO_API_KEY_FILE', 'PATH', 'LLAMERO_PORT', 'HOME'])
      assert.ok(!isSecretVariable(name), name);
    const env = { HF_TOKEN: 'one', HTTPS_PROXY: 'http://u:two@proxy:1', HOME: '/home/alice' };
    assert.deepEqual(secretsOfEnvironment(env), ['one', 'u', 'u', 'two', 'two']);
  });

  it('within addresses', () => {
    assert.deepEqual(secretsOfAddress('redis://:p%40ss@host:6379/0'), ['p%40ss', 'p@ss']);
    assert.deepEqual(secretsOfAddress('https://host/x?sig=abc'), ['abc', 'abc']);
    for (const none of ['https://host/x', 'user/repo:Q4', './model.gguf', '', 'a@b']) {
      assert.deepEqual(secretsOfAddress(none), [], none);
    }
  });

  it('in configuration, valid or not', () => {
    const configuration = {
      model: 'https://u:three@host/m.gguf',
      engine: { args: ['--api-key', 'four', '--hf-token=five', '--threads', '1'] },
      alerts: { webhook: { url: 'https://hooks.example/six', secret: 'seven' } },
      telemetry: { headers: { 'x-team': 'eight' } },
      fairness: { promptTokenWeight: 1 },
      gateway: { apiKeyFile: './keys.json' },
    };
    const expected = ['u', 'u', 'three', 'three', 'four', 'five', 'https://hooks.example/six', 'seven', 'eight'];
    assert.deepEqual(secretsOfConfiguration(configuration), expected);
    assert.deepEqual(secretsOfConfiguration(null), []);
  });
});
