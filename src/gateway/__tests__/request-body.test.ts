import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LlameroError } from '../../core/errors.ts';
import { engineRoute } from '../../core/openai/routes.ts';
import { isNestedDeeperThan } from '../../core/openai/json-scan.ts';
import { checkBody, checkContentHeaders } from '../request-body.ts';

const CHAT = engineRoute('POST /v1/chat/completions');
const check = (text: string, route = CHAT) =>
  checkBody(Buffer.from(text), route, { allowRemoteMedia: false, continuation: { mode: 'fast', chatGoesOn: true } });

const deep = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);

describe('nesting', () => {
  const long = 'x'.repeat(200);
  const cases: [json: string, deepest: number][] = [
    ['', 0],
    ['1', 0],
    ['{}', 1],
    ['[[],[],{}]', 2],
    [deep(50), 50],
    ['{"[[[[":"{{{{"}', 1],
    [String.raw`{"a\"[[":"\\","b":[]}`, 2],
    [String.raw`["\\\"[[["]`, 1],
    [`["${long}[[[",["${long}\\"[[[["],[]]`, 2],
    [`["${long}\\\\",[["${long}\\\\\\"]]]]"]]]`, 3],
    [`["${'\\"'.repeat(100)}[[[",[]]`, 2],
    [`["unclosed [[[`, 1],
    [`["${long} unclosed [[[\\`, 1],
    [']]]][', 1],
  ];
  for (const [json, deepest] of cases) {
    it(`is ${deepest} in ${json.length > 40 ? `${json.slice(0, 40)}…` : json}`, () => {
      const bytes = Buffer.from(json);
      assert.equal(isNestedDeeperThan(bytes, deepest), false);
      if (deepest > 0 && !json.startsWith(']')) assert.equal(isNestedDeeperThan(bytes, deepest - 1), true);
    });
  }
});

describe('the check of a request body', () => {
  it('finds out whether a stream is wanted', () => {
    assert.equal(check('{}').stream, false);
    assert.equal(check('{"stream":false}').stream, false);
    assert.equal(check('{"stream":null}').stream, false);
    assert.equal(check('{"stream":true}').stream, true);
    assert.equal(check('{"stream":false,"stream":true}').stream, true, 'the last one counts');
    assert.equal(check(String.raw`{"str\u0065am":true}`).stream, true);
    assert.equal(check('{"nested":{"stream":true}}').stream, false);
    assert.equal(check('{"__proto__":{"stream":true}}').stream, false);
    assert.equal(check('{"stream":true}', engineRoute('POST /v1/embeddings')).stream, false);
  });

  it('tells where JSON is broken without quoting it', () => {
    assert.throws(
      () => check('{"prompt":"my secret" oops}'),
      (error: LlameroError) => {
        assert.match(error.message, /^The request body is not valid JSON \(fault at character 22\)\.$/);
        return true;
      },
    );
  });

  it('accepts JSON by its description, or by none', () => {
    for (const type of [undefined, 'application/json', 'Application/JSON; Charset="UTF-8"', 'application/json;x=y']) {
      checkContentHeaders(type, undefined);
    }
    checkContentHeaders('application/json', 'identity');
    for (const type of ['', 'text/plain', 'application/jsonx', 'application/json; charset=latin1']) {
      assert.throws(() => checkContentHeaders(type, undefined), { code: 'invalid_request', status: 415 });
    }
    assert.throws(() => checkContentHeaders('application/json', 'gzip'), { status: 415 });
  });
});
