import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { askForProgress, limitTokens } from '../body-edit.ts';
import { engineRoute } from '../routes.ts';

const CHAT = engineRoute('POST /v1/chat/completions');
const MESSAGES = engineRoute('POST /v1/messages');

describe('what llamero adds to a body', () => {
  const asking: [body: string, expected: string][] = [
    ['{}', '{"return_progress":true}'],
    [' \n\t{ }\n', '{"return_progress":true }\n'],
    ['{"a":1}', '{"return_progress":true,"a":1}'],
    ['\n { "a" : {"b":{}} } \r\n', '{"return_progress":true, "a" : {"b":{}} } \r\n'],
    ['{"a":"}{"}', '{"return_progress":true,"a":"}{"}'],
    ['{"return_progress":false}', '{"return_progress":true,"return_progress":false}'],
    ['{"ü":"🦙","n":1.0e0}', '{"return_progress":true,"ü":"🦙","n":1.0e0}'],
  ];
  for (const [body, expected] of asking) {
    it(`asks for progress in ${JSON.stringify(body)}`, () => {
      const bytes = Buffer.from(body);
      assert.equal(askForProgress(bytes, CHAT).toString(), expected);
      assert.equal(bytes.toString(), body, 'the bytes of the caller stay');
      // The caller's own word comes last, which is the one that counts.
      assert.deepEqual(JSON.parse(expected), { return_progress: true, ...JSON.parse(body) });
    });
  }

  it('asks for no progress where the engine knows none', () => {
    const bytes = Buffer.from('{"a":1}');
    assert.equal(askForProgress(bytes, MESSAGES), bytes);
  });

  const limiting: [body: string, expected: string][] = [
    ['{}', '{"n_predict":5}'],
    [' { } \n', ' { "n_predict":5}'],
    ['{"a":1}', '{"a":1,"n_predict":5}'],
    ['{"a":{"b":{}}}\r\n', '{"a":{"b":{}},"n_predict":5}'],
    ['{"a":"}"}\n \n', '{"a":"}","n_predict":5}'],
    ['{"n_predict":9,"max_tokens":8}', '{"n_predict":9,"max_tokens":8,"n_predict":5}'],
    ['{"ü":"🦙"}', '{"ü":"🦙","n_predict":5}'],
  ];
  for (const [body, expected] of limiting) {
    it(`limits the tokens of ${JSON.stringify(body)}`, () => {
      const bytes = Buffer.from(body);
      assert.equal(limitTokens(bytes, CHAT, 5).toString(), expected);
      assert.equal(bytes.toString(), body, 'the bytes of the caller stay');
      assert.deepEqual(JSON.parse(expected), { ...JSON.parse(body), n_predict: 5 });
    });
  }

  it('limits the tokens by the name that the dialect knows', () => {
    const limited = limitTokens(Buffer.from('{"max_tokens":9}'), MESSAGES, 5).toString();
    assert.equal(limited, '{"max_tokens":9,"max_tokens":5}');
  });

  it('does both', () => {
    const both = askForProgress(limitTokens(Buffer.from(' {"a":[{}]} '), CHAT, 5), CHAT).toString();
    assert.equal(both, '{"return_progress":true,"a":[{}],"n_predict":5}');
  });
});
