import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { packageVersion } from '../../gateway/package-version.ts';
import { llamero } from './child.ts';

let cwd = '';
before(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'llamero-main-'));
});
after(() => rm(cwd, { recursive: true }));

describe('exit codes and messages', { concurrency: 2, timeout: 60_000 }, () => {
  const table: { args: string[]; code: number; stdout?: RegExp; stderr?: RegExp; env?: NodeJS.ProcessEnv }[] = [
    { args: ['--version'], code: 0, stdout: new RegExp(`^${packageVersion()}\\n$`) },
    { args: ['--help'], code: 0, stdout: /Commands:[^]*serve[^]*Examples:/ },
    { args: ['serve', '--help'], code: 0, stdout: /--api-key-file <FILE>[^]*LLAMERO_API_KEY_FILE[^]*Examples:/ },
    { args: ['help', 'config'], code: 0, stdout: /check[^]*schema[^]*print/ },
    { args: [], code: 2, stderr: /Usage: llamero/ },
    { args: ['sreve'], code: 2, stderr: /unknown command 'sreve'[^]*Did you mean serve\?/ },
    { args: ['serve', '--paralel', '4'], code: 2, stderr: /Did you mean --parallel\?[^]*llamero serve --help/ },
    { args: ['serve', '--parallel', 'many'], code: 2, stderr: /engine\.parallel: expected a number.*from --parallel/ },
    { args: ['serve'], env: { LLAMERO_PORT: '70000' }, code: 2, stderr: /gateway\.port: .*from LLAMERO_PORT/ },
    { args: ['serve', 'a.gguf', 'b.gguf'], code: 2, stderr: /too many arguments/ },
    { args: ['serve', '--config', 'missing.yaml'], code: 2, stderr: /missing\.yaml: there is no such file/ },
    { args: ['serve', './no.gguf', '--port', 'auto'], code: 1, stderr: /^llamero: There is no model at .*no\.gguf/m },
    { args: ['config', 'print', '--defaults'], code: 0, stdout: /^profile: auto\n/ },
    { args: ['config', 'schema'], code: 0, stdout: /"\$schema"/ },
    {
      args: ['status', '--url', 'http://127.0.0.1:9'],
      code: 1,
      stderr: /cannot be reached\. Start one with `llamero serve`/,
    },
    { args: ['status', '--url', 'nonsense'], code: 2, stderr: /--url: expected an address/ },
  ];
  for (const { args, env, code, stdout = /^$/, stderr = /^$/ } of table) {
    test(`llamero ${args.join(' ')}: ${code}`, async () => {
      const ended = await llamero(args, { cwd, env });
      assert.equal(ended.code, code, ended.stderr);
      assert.match(ended.stdout, stdout);
      assert.match(ended.stderr, stderr);
      assert.doesNotMatch(ended.stderr, /^\s+at /m, 'a stack is for LLAMA_DEBUG=true');
    });
  }

  test('LLAMA_DEBUG=true shows the stack', async () => {
    const { stderr } = await llamero(['config', 'check', 'no.yaml'], { cwd, env: { LLAMA_DEBUG: 'true' } });
    assert.match(stderr, /^\s+at /m);
  });
});

describe('llamero config check', { timeout: 60_000 }, () => {
  test('what print gives is valid', async () => {
    const { stdout } = await llamero(['config', 'print', '--defaults'], { cwd });
    await writeFile(join(cwd, 'printed.yaml'), stdout);
    const ended = await llamero(['config', 'check', 'printed.yaml'], { cwd });
    assert.deepEqual({ ...ended }, { code: 0, stdout: 'printed.yaml: valid\n', stderr: '' });
  });

  test('a mistake is told with its line', async () => {
    await writeFile(join(cwd, 'wrong.yaml'), 'maxQueue: 1\nengine:\n  parallel: four\n');
    const { code, stderr } = await llamero(['config', 'check', 'wrong.yaml'], { cwd });
    assert.equal(code, 2);
    assert.match(stderr, /engine\.parallel: expected a number, came "four" \(from wrong\.yaml:3\)/);
  });
});

describe('llamero status', { timeout: 60_000 }, () => {
  const status = { gateway: { requests: 2, draining: false }, state: 'ready', facts: { slots: 4 } };
  const server = createServer((request, response) => {
    const isKnown = request.headers.authorization === 'Bearer my-key';
    if (isKnown) response.setHeader('content-type', 'application/json').end(JSON.stringify(status));
    else response.writeHead(401).end('{}');
  });
  let url = '';
  before(async () => {
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => server.close());

  test('prints a summary, with the key of a file', async () => {
    await writeFile(join(cwd, 'my.key'), 'my-key\n');
    const ended = await llamero(['status', '--url', url, '--api-key-file', 'my.key'], { cwd });
    assert.equal(ended.code, 0, ended.stderr);
    assert.match(ended.stdout, /gateway:\n {2}requests: 2\n {2}draining: false\nstate: +ready\nfacts:\n {2}slots: 4\n/);
  });

  test('prints JSON, with the key of the environment', async () => {
    const ended = await llamero(['status', '--url', url, '--json'], { cwd, env: { LLAMERO_API_KEY: 'my-key' } });
    assert.deepEqual(JSON.parse(ended.stdout), status);
  });

  test('says when a key is missing', async () => {
    const ended = await llamero(['status', '--url', url], { cwd });
    assert.equal(ended.code, 1);
    assert.match(ended.stderr, /wants an API key/);
  });
});
