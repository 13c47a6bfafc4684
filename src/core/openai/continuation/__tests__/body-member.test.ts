import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memberSpan, withMember, withMembers } from '../body-member.ts';

test('the value of a member is found where llama-server takes it from', () => {
  const cases: [body: string, value: string | null][] = [
    ['{"p":"a"}', '"a"'],
    ['{ "p" : "a" , "q":1}', '"a"'],
    ['{"p":"a","p":"b"}', '"b"'],
    ['{"q":{"p":1},"p":[1,{"p":2}," ]}"]}', '[1,{"p":2}," ]}"]'],
    ['{"q":"\\"p\\":1","p":"\\"\\\\"}', '"\\"\\\\"'],
    ['{"q":"p","r":["p",1]}', null],
    ['{"p":12.5 ,"q":1}', '12.5'],
    ['{"p":null}', 'null'],
    ['{"p":-1\n}', '-1'],
    ['{"p":{}}', '{}'],
    ['{}', null],
    ['{"q":1}', null],
    // Which of the two it is would have to be decoded.
    ['{"p":1,"\\u0070":2}', null],
  ];
  for (const [body, value] of cases) {
    const bytes = Buffer.from(body);
    const span = memberSpan(bytes, 'p');
    assert.equal(span && bytes.toString('utf8', span.start, span.end), value, body);
  }
});

test('everything else keeps its bytes', () => {
  const body = Buffer.from('{"a":12345678901234567890, "p":"x","b":1.0}');
  const changed = withMember(body, memberSpan(body, 'p')!, Buffer.from('["x",1]'));
  assert.equal(changed.toString(), '{"a":12345678901234567890, "p":["x",1],"b":1.0}');
  assert.equal(withMembers(changed, ['"n":1', '"m":2']).toString().slice(-18), '"b":1.0,"n":1,"m":2}'.slice(-18));
  assert.equal(withMembers(body, []), body);
});
