import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeVersion, parseEngineVersion, tooOldReason } from '../engine-version.ts';

describe('parseEngineVersion', () => {
  const cases: [string, string, ReturnType<typeof parseEngineVersion>][] = [
    [
      'a version with build and commit, log lines around it',
      '0.00.000.376 I srv  llama_server: initializing ...\nversion: 0.5.0-dev (build 1, commit de3ff81)\nbuilt with GNU 12.2.0',
      { version: '0.5.0-dev', build: 1, commit: 'de3ff81' },
    ],
    [
      'a release version',
      'version: 0.6.0 (build 11429, commit 0123abc)',
      { version: '0.6.0', build: 11429, commit: '0123abc' },
    ],
    ['a version alone', 'version: 1.2.3', { version: '1.2.3', build: null, commit: null }],
    [
      'a version whose build is unknown',
      'version: 0.5.0-dev (build 0, commit unknown)',
      { version: '0.5.0-dev', build: null, commit: null },
    ],
    [
      'a build number, after the lines of a backend',
      'load_backend: loaded CPU backend from /app/libggml-cpu-skylakex.so\nversion: 7444 (58062860a)\nbuilt with GNU 11.4.0',
      { version: 'b7444', build: 7444, commit: '58062860a' },
    ],
    ['a build that does not know itself', 'version: 0 (unknown)', { version: 'unknown', build: null, commit: null }],
    ['carriage returns', 'version: 9999 (abc)\r\nbuilt', { version: 'b9999', build: 9999, commit: 'abc' }],
    ['another program', 'cmake version 3.25.1', null],
    ['nothing', '', null],
  ];
  for (const [name, output, expected] of cases) {
    it(name, () => assert.deepEqual(parseEngineVersion(output), expected));
  }
});

describe('tooOldReason', () => {
  const cases: [string, number | null, boolean][] = [
    ['0.5.0-dev', 1, false],
    ['0.1.0', 10450, false],
    ['0.0.9', 10000, true],
    ['1.0.0', null, false],
    ['b9442', 9442, false],
    ['b9441', 9441, true],
    ['b4567', 4567, true],
    ['unknown', null, false],
  ];
  for (const [version, build, tooOld] of cases) {
    it(`${version} is ${tooOld ? 'too old' : 'accepted'}`, () => {
      const reason = tooOldReason({ version, build, commit: null });
      assert.equal(reason !== null, tooOld);
      if (reason !== null)
        assert.match(reason, new RegExp(`${version} is too old: llamero needs 0\\.1\\.0 or build b9442`));
    });
  }
});

describe('describeVersion', () => {
  it('names build and commit beside a version', () => {
    assert.equal(describeVersion({ version: '0.5.0-dev', build: 1, commit: 'de3ff81' }), '0.5.0-dev (b1, de3ff81)');
  });
  it('does not repeat a build number', () => {
    assert.equal(describeVersion({ version: 'b7444', build: 7444, commit: 'abc' }), 'b7444 (abc)');
  });
  it('stands alone where nothing else is known', () => {
    assert.equal(describeVersion({ version: 'unknown', build: null, commit: null }), 'unknown');
  });
});
