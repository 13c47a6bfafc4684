import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type FakeLlamaServerCommand, writeFakeLlamaServerCommand } from '../../testing/index.ts';
import { llamero, type RunningLlamero, startLlamero } from './child.ts';

const MARKER = 'xyzzy-in-prompt';
const CHAT = { messages: [{ role: 'user', content: MARKER }], max_tokens: 8 };

/** The real llama-server where there is one; the double behaves the same in all that these tests look at. */
describe('the log of llamero serve', { timeout: 120_000 }, () => {
  let cwd = '';
  let double: FakeLlamaServerCommand;
  let key = '';
  let keyFile = '';
  before(async () => {
    cwd = await mkdtemp(path.join(os.tmpdir(), 'llamero-serve-log-'));
    double = await writeFakeLlamaServerCommand();
    keyFile = path.join(cwd, 'keys.json');
    key = (await llamero(['keys', 'add', 'test', '--file', keyFile], { cwd })).stdout.trim();
    await writeFile(path.join(cwd, 'llamero.yaml'), "engine: { args: ['--threads', '1'] }\n");
  });
  after(async () => {
    await double.remove();
    await rm(cwd, { recursive: true });
  });

  function start(env: NodeJS.ProcessEnv): RunningLlamero {
    const paths = {
      LLAMA_SERVER_PATH: process.env['LLAMA_SERVER_PATH'] ?? double.command,
      LLAMERO_CACHE_DIR: path.join(cwd, 'cache'),
      TMPDIR: os.tmpdir(),
    };
    return startLlamero(['serve', '--port', 'auto', '--api-key-file', keyFile], { cwd, env: { ...paths, ...env } });
  }

  async function post(url: string, route: string, body: string, headers: Record<string, string> = {}): Promise<string> {
    const authorization = `Bearer ${key}`;
    const all = { 'content-type': 'application/json', authorization, ...headers };
    return await (await fetch(url + route, { method: 'POST', headers: all, body })).text();
  }

  for (const format of ['json', 'pretty']) {
    test(`holds no key, prompt or answer at its finest level, ${format}`, async () => {
      await using server = start({ LOG_LEVEL: 'trace', LLAMERO_LOG_FORMAT: format });
      const url = await addressOf(server);
      const chat = '/v1/chat/completions';
      const answer = JSON.parse(await post(url, chat, JSON.stringify(CHAT))) as {
        choices: { message: { content: string } }[];
      };
      await post(url, chat, JSON.stringify({ ...CHAT, stream: true }));
      await post(url, chat, JSON.stringify({ messages: MARKER }));
      await post(url, chat, `{"${MARKER}`);
      await post(url, chat, JSON.stringify(CHAT), { authorization: `Bearer ${MARKER}` });
      await post(url, `/v1/${MARKER}?${MARKER}`, '{}');
      await post(
        url,
        '/completion',
        JSON.stringify({ prompt: MARKER, n_predict: 2, grammar: `root ::= ${MARKER} ("a"` }),
      );
      const schema = { type: 'json_schema', json_schema: { schema: { type: MARKER } } };
      await post(url, chat, JSON.stringify({ ...CHAT, response_format: schema }));
      await crash(url, key);
      await post(url, chat, JSON.stringify(CHAT));
      const log = await endOf(server);
      assert.match(log, /engine lost/);
      assert.match(log, /request failed/);
      assert.match(log, /response/);
      assert.ok(!log.includes('xyzzy'), log);
      assert.ok(!log.includes(key));
      const said = answer.choices[0]?.message.content.trim() ?? '';
      assert.ok(said.length > 3 && !log.includes(said), said);
    });
  }

  test('LLAMA_DEBUG=true traces each request, with its text, its times and the log of the engine', async () => {
    await using server = start({ LLAMA_DEBUG: 'true' });
    const { url } = await server.record('serving');
    const id = { 'x-request-id': 'looked-for' };
    const answer = await post(String(url), '/v1/chat/completions', JSON.stringify(CHAT), id);
    const log = await endOf(server);
    assert.ok(!log.includes(key));
    assert.match(log, /"msg":"engine log"/);
    const lines = log.split('\n').filter((line) => line.includes('"id":"looked-for"'));
    const records = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    const messages = records.map(({ msg }) => msg);
    const expected = ['trace: request', 'request', 'trace: answer begins', 'trace: answer is complete', 'response'];
    assert.deepEqual(messages, expected);
    assert.equal(records[0]?.['body'], JSON.stringify(CHAT));
    assert.equal(records[3]?.['answer'], answer);
    for (const [index, time] of [
      [2, 'engineMs'],
      [3, 'firstDataMs'],
      [4, 'totalMs'],
    ] as const) {
      assert.equal(typeof records[index]?.[time], 'number', time);
    }
  });
});

/** Where a gateway listens, whose log may be for people. */
async function addressOf({ child }: RunningLlamero): Promise<string> {
  for (let said = ''; ;) {
    const [text] = (await once(child.stdout ?? assert.fail('no pipe'), 'data')) as [string];
    said += text;
    const found = / at (http:\S+)/.exec(said)?.[1];
    if (found !== undefined) return found;
  }
}

/** Ends it in order. @returns its log. */
async function endOf(server: RunningLlamero): Promise<string> {
  server.child.kill('SIGTERM');
  return (await server.ended).stderr;
}

/** Ends the engine; the next request waits for the one that takes its place. */
async function crash(url: string, key: string): Promise<void> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const { pid } = (await (await fetch(`${url}/admin/status`, { headers })).json()) as { pid: number };
  process.kill(pid, 'SIGSEGV');
}
