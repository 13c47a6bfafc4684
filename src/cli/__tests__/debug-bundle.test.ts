import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { extract } from 'tar';
import { type FakeLlamaServerCommand, writeFakeLlamaServerCommand } from '../../testing/index.ts';
import { llamero, startLlamero } from './child.ts';

const SECRETS = {
  variable: 'hf_planted-variable-token',
  password: 'planted-password',
  query: 'planted-query-signature',
  option: 'planted-engine-option',
  webhook: 'planted-webhook-secret',
  foreign: 'planted "quoted" secret',
};

describe('llamero debug bundle', { timeout: 120_000 }, () => {
  let cwd = '';
  let double: FakeLlamaServerCommand;
  before(async () => {
    cwd = await mkdtemp(path.join(os.tmpdir(), 'llamero-bundle-'));
    double = await writeFakeLlamaServerCommand();
  });
  after(async () => {
    await double.remove();
    await rm(cwd, { recursive: true });
  });

  function env(): NodeJS.ProcessEnv {
    return {
      LLAMA_SERVER_PATH: process.env['LLAMA_SERVER_PATH'] ?? double.command,
      LLAMERO_CACHE_DIR: path.join(cwd, 'cache'),
      HF_TOKEN: SECRETS.variable,
      SOME_SECRET: SECRETS.foreign,
      HTTPS_PROXY: `http://bob:${SECRETS.password}@127.0.0.1:9`,
    };
  }

  async function unpacked(file: string): Promise<Record<string, string>> {
    const folder = await mkdtemp(path.join(cwd, 'unpacked-'));
    await extract({ file, cwd: folder });
    const root = path.join(folder, 'llamero-debug');
    const names = await readdir(root, { recursive: true, withFileTypes: true });
    const files = names.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
    const texts = files.map(async (name) => [path.relative(root, name), await readFile(name, 'utf8')] as const);
    return Object.fromEntries(await Promise.all(texts));
  }

  it('of a running gateway: everything but the secrets', async () => {
    const keyFile = path.join(cwd, 'keys.json');
    const key = (await llamero(['keys', 'add', 'test', '--admin', '--file', keyFile], { cwd })).stdout.trim();
    await writeFile(path.join(cwd, 'my.key'), key);
    const config = `
model: https://alice:${SECRETS.password}@127.0.0.1:9/m.gguf?sig=${SECRETS.query}
engine: { args: ['--api-key', '${SECRETS.option}'] }
gateway: { apiKeyFile: ./keys.json, port: auto }
`;
    await writeFile(path.join(cwd, 'secret.yaml'), config);
    await using server = startLlamero(['serve', '--port', 'auto', '--api-key-file', keyFile], { cwd, env: env() });
    const { url } = await server.record('serving');
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    const body = JSON.stringify({ prompt: 'planted-prompt', grammar: 'root ::= planted-grammar ("a"', n_predict: 2 });
    await (await fetch(`${String(url)}/completion`, { method: 'POST', headers, body })).text();

    const record = '{"level":"info","msg":"kept"}\n{"level":"trace","body":"planted-prompt","msg":"trace: request"}\n';
    await writeFile(path.join(cwd, 'llamero.log'), `${record}INFO planted-prompt\n`);
    const out = path.join(cwd, 'bundle.tar.gz');
    const args = ['debug', 'bundle', '--out', out, '--url', String(url), '--api-key-file', 'my.key'];
    const ended = await llamero([...args, '--config', 'secret.yaml', '--log-file', 'llamero.log'], { cwd, env: env() });
    assert.equal(ended.code, 0, ended.stderr);
    assert.match(ended.stdout, /doctor\.json +what `llamero doctor` found/);
    assert.match(ended.stdout, /Look through it\nbefore you send it/);
    if (process.platform !== 'win32') assert.equal((await stat(out)).mode & 0o777, 0o600);

    const files = await unpacked(out);
    const text = JSON.stringify(files);
    for (const planted of ['planted', key, path.basename(cwd), (await readFile(keyFile, 'utf8')).slice(60, 100)]) {
      assert.ok(
        !text.includes(planted),
        `${planted}: ${text.slice(text.indexOf(planted) - 200, text.indexOf(planted) + 99)}`,
      );
    }
    const expected = [
      'README.txt',
      'configuration.yaml',
      'doctor.json',
      'environment.json',
      'log.jsonl',
      'versions.json',
    ];
    const gateway = ['engine-log.txt', 'log.jsonl', 'metrics.txt', 'status.json'].map((name) =>
      path.join('gateway', name),
    );
    assert.deepEqual(Object.keys(files).toSorted(), [...expected, ...gateway].toSorted());
    const part = (name: string) => files[path.normalize(name)] ?? '';
    assert.match(part('configuration.yaml'), /model: https:\/\/\*\*\*@127\.0\.0\.1:9\/m\.gguf\?sig=\*\*\*/);
    assert.match(part('configuration.yaml'), /- --api-key\n +- "\*\*\*"/);
    assert.match(part('environment.json'), /"HF_TOKEN": "\*\*\*"/);
    assert.match(part('versions.json'), /"llamero": "\d+\.\d+\.\d+"/);
    assert.ok((JSON.parse(part('doctor.json')) as { checks: unknown[] }).checks.length > 3);
    assert.equal((JSON.parse(part('gateway/status.json')) as { state: string }).state, 'ready');
    assert.match(part('gateway/log.jsonl'), /"msg":"engine ready"/);
    assert.match(part('gateway/engine-log.txt'), /listening/);
    assert.match(part('log.jsonl'), /kept"\}\n\(2 other lines left out\)\n$/);

    const again = await llamero(args, { cwd, env: env() });
    assert.equal(again.code, 2);
    assert.match(again.stderr, /it is there already/);
  });

  it('without a gateway, and with wrong configuration, says so', async () => {
    const folder = path.join(cwd, 'wrong');
    await mkdir(folder);
    await writeFile(
      path.join(folder, 'llamero.yaml'),
      `webhook: { secret: ${SECRETS.webhook} }\nmodel: [${'long-'.repeat(30)}]\n`,
    );
    const unused = await freePort();
    const args = [
      'debug',
      'bundle',
      '--out',
      'b.tar.gz',
      '--url',
      `http://bob:${SECRETS.password}@127.0.0.1:${unused}`,
    ];
    const ended = await llamero(args, { cwd: folder, env: env() });
    assert.equal(ended.code, 0, ended.stderr);
    const files = await unpacked(path.join(folder, 'b.tar.gz'));
    assert.ok(!JSON.stringify(files).includes('planted'));
    assert.match(
      files['configuration.yaml'] ?? '',
      /^# invalid\n[^]*model: expected a string, came \*\*\*\n +webhook: unknown key/,
    );
    assert.match(files[path.join('gateway', 'status.json')] ?? '', /^no answer from \/admin\/status: /);
  });
});

/** A port that nobody listens on, for as long as nobody else takes it. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 1;
}
