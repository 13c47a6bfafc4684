import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LlameroError } from '../../../errors.ts';
import { isAllowedAddress } from '../../download/allowed-address.ts';
import { parseModelReference } from '../model-reference.ts';
import type { ModelReference } from '../model-reference.ts';

const path = (value: string): ModelReference => ({ kind: 'path', path: value });
const url = (value: string): ModelReference => ({ kind: 'url', url: value });
const hub = (repository: string, quantization: string | null = null, file?: string): ModelReference =>
  file === undefined
    ? { kind: 'huggingface', repository, quantization }
    : { kind: 'huggingface', repository, quantization, file };

const TABLE: [string, ModelReference][] = [
  ['model.gguf', path('model.gguf')],
  ['model', path('model')],
  ['  model.gguf ', path('model.gguf')],
  ['./model.gguf', path('./model.gguf')],
  ['../a/b/model.gguf', path('../a/b/model.gguf')],
  ['/data/models/model.gguf', path('/data/models/model.gguf')],
  ['~/models/model.gguf', path('~/models/model.gguf')],
  ['models/model.gguf', path('models/model.gguf')],
  ['models/model.GGUF', path('models/model.GGUF')],
  ['C:\\models\\model.gguf', path('C:\\models\\model.gguf')],
  ['C:/models/model.gguf', path('C:/models/model.gguf')],
  ['models\\model.gguf', path('models\\model.gguf')],
  ['my models/with spaces/model', path('my models/with spaces/model')],
  ['https://example.com/model.gguf', url('https://example.com/model.gguf')],
  ['https://example.com/a%20b.gguf?token=1', url('https://example.com/a%20b.gguf?token=1')],
  ['http://127.0.0.1:9000/model.gguf', url('http://127.0.0.1:9000/model.gguf')],
  ['http://localhost/model.gguf', url('http://localhost/model.gguf')],
  ['user/repo', hub('user/repo')],
  ['user/repo:Q4_K_M', hub('user/repo', 'Q4_K_M')],
  ['bartowski/Llama-3.2-1B-Instruct-GGUF:q8_0', hub('bartowski/Llama-3.2-1B-Instruct-GGUF', 'q8_0')],
  ['unsloth/gpt-oss-20b-GGUF:UD-Q4_K_XL', hub('unsloth/gpt-oss-20b-GGUF', 'UD-Q4_K_XL')],
  ['user/repo/file.gguf', hub('user/repo', null, 'file.gguf')],
  ['user/repo/UD-Q4/file-00001-of-00002.gguf', hub('user/repo', null, 'UD-Q4/file-00001-of-00002.gguf')],
  ['https://huggingface.co/user/repo', hub('user/repo')],
  ['https://huggingface.co/user/repo/', hub('user/repo')],
  ['https://huggingface.co/user/repo/blob/main/a/file.gguf', hub('user/repo', null, 'a/file.gguf')],
  ['https://huggingface.co/user/repo/resolve/main/file.gguf?download=true', hub('user/repo', null, 'file.gguf')],
  [
    'https://huggingface.co/user/repo/resolve/v1/file.gguf',
    url('https://huggingface.co/user/repo/resolve/v1/file.gguf'),
  ],
];

describe('parseModelReference', () => {
  for (const [text, expected] of TABLE) {
    it(`reads ${JSON.stringify(text)}`, () => assert.deepEqual(parseModelReference(text), expected));
  }

  for (const text of [
    '',
    '   ',
    'ftp://example.com/model.gguf',
    'http://example.com/model.gguf',
    'https://',
    'file:///x',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(
        () => parseModelReference(text),
        (error) =>
          error instanceof LlameroError && error.code === 'invalid_options' && /user\/repo/.test(error.message),
      );
    });
  }
});

describe('isAllowedAddress', () => {
  it('takes https anywhere and http from this machine only', () => {
    assert.equal(isAllowedAddress(new URL('https://example.com/')), true);
    assert.equal(isAllowedAddress(new URL('http://[::1]:80/')), true);
    assert.equal(isAllowedAddress(new URL('http://127.0.0.1.example.com/')), false);
    assert.equal(isAllowedAddress(new URL('http://10.0.0.1/')), false);
  });
});
