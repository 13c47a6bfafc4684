import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFakeLlamaServer, type FakeServerFaults } from '../index.ts';
import { call, frames, type Answer, type Target } from './servers.ts';

const DEADLINE = { timeout: 60_000 };
/** Register tests of what only some platforms have. */
const posix = process.platform === 'win32' ? unregistered : it;
const linux = process.platform === 'linux' ? it : unregistered;
const STREAM = { messages: [{ role: 'user', content: 'hi' }], max_tokens: 6, stream: true };

async function stream(server: Target, fields: object = {}): Promise<Answer> {
  return call(server, '/v1/chat/completions', { ...STREAM, ...fields });
}

function start(
  faults: FakeServerFaults,
  waitFor: 'ready' | 'listening' | 'spawned' = 'ready',
): ReturnType<typeof startFakeLlamaServer> {
  return startFakeLlamaServer({ faults, waitFor });
}

describe('start-up faults of the double', DEADLINE, () => {
  it('answers 503 while it loads, telling progress or not', async () => {
    for (const loadProgress of [true, false]) {
      await using server = await start({ loadMs: 300, loadProgress }, 'listening');
      const { status, text } = await call(server, '/health');
      assert.equal(status, 503);
      assert.deepEqual(JSON.parse(text), { error: { code: 503, message: 'Loading model', type: 'unavailable_error' } });
      while ((await call(server, '/health')).status !== 200);
      assert.equal(/load_tensors/.test(server.log()), loadProgress);
    }
  });

  it('never becomes ready, and dies of a signal then, as the real one does', async () => {
    await using server = await start({ neverReady: true, loadProgress: false }, 'listening');
    assert.equal((await call(server, '/props')).status, 503);
    process.kill(server.pid, 'SIGTERM');
    const { code, signal } = await server.exited;
    assert.ok(code !== 0 || signal === 'SIGTERM');
  });

  it('listens late', async () => {
    await using server = await start({ listenAfterMs: 200 });
    assert.equal((await call(server, '/health')).status, 200);
  });

  const failures: Array<[NonNullable<FakeServerFaults['startFailure']>, RegExp]> = [
    ['model_missing', /failed to open GGUF file 'fake\.gguf' \(No such file or directory\)/],
    ['model_not_gguf', /invalid magic characters: '\?\?\?\?', expected 'GGUF'/],
    ['model_unknown_architecture', /unknown model architecture: 'lxama'/],
    ['model_truncated', /data is not within the file bounds/],
    ['out_of_memory', /insufficient memory/],
    ['wrong_option', /^error: invalid argument: --wrong-option$/m],
    ['port_taken', /couldn't bind HTTP server socket, hostname: 127\.0\.0\.1, port: \d+/],
    ['assertion', /GGML_ASSERT\(.*\) failed/],
  ];
  for (const [startFailure, message] of failures) {
    it(`fails to start: ${startFailure}`, async () => {
      await using server = await start({ startFailure }, 'spawned');
      const { code, signal } = await server.exited;
      assert.match(server.log(), message);
      if (startFailure === 'assertion') assert.ok(signal === 'SIGABRT' || code !== 0);
      else assert.equal(code, 1);
    });
  }

  it('fails to start on a port that is really taken', async () => {
    await using first = await start({});
    await using second = await startFakeLlamaServer({ port: first.port ?? 0, waitFor: 'spawned' });
    assert.deepEqual(await second.exited, { code: 1, signal: null });
    assert.match(second.log(), /couldn't bind HTTP server socket/);
  });

  it('reports a double that ended instead of becoming ready', async () => {
    await assert.rejects(start({ startFailure: 'wrong_option' }), {
      code: 'engine_unavailable',
      message: /invalid argument/,
    });
  });

  it('ends some time after it became ready', async () => {
    // Longer than it may take to see that it is ready.
    await using server = await start({ endAfterMs: { ms: 1500, exitCode: 7 } });
    assert.deepEqual(await server.exited, { code: 7, signal: null });
  });

  void posix('ignores SIGTERM', async () => {
    await using server = await start({ ignoreSigterm: true });
    process.kill(server.pid, 'SIGTERM');
    assert.equal((await call(server, '/health')).status, 200);
  });

  it('floods its log', async () => {
    for (const logFloodOneLine of [false, true]) {
      await using server = await start({ logFloodBytes: 1_500_000, logFloodOneLine });
      // Lines about requests may come in between and afterwards; the flood is what the log is full of.
      while (server.log().split('x').length < 900_000) await sleep(5);
      assert.equal(server.log().includes('x'.repeat(2000)), logFloodOneLine);
    }
  });

  it('answers with bytes that are not HTTP', async () => {
    await using server = await start({ garbageHttp: true }, 'listening');
    await assert.rejects(call(server, '/health'), { name: 'HTTPParserError' });
  });
});

describe('request faults of the double', DEADLINE, () => {
  it('refuses requests, the first ones only if told so', async () => {
    await using server = await start({ refuse: { status: 503, retryAfterSeconds: 2 }, firstRequests: 2 });
    const statuses = [];
    for (let request = 0; request < 3; request += 1) statuses.push((await stream(server)).status);
    assert.deepEqual(statuses, [503, 503, 200]);
  });

  it('sends headers late', async () => {
    await using server = await start({ slowHeadersMs: 150 });
    const started = performance.now();
    assert.equal((await stream(server)).status, 200);
    assert.ok(performance.now() - started >= 145);
  });

  it('cuts JSON', async () => {
    await using server = await start({ malformedJson: true });
    const { status, text, error } = await stream(server, { stream: false });
    assert.equal(status, 200);
    assert.equal(error, null);
    assert.throws(() => JSON.parse(text), SyntaxError);
  });

  it('hangs after some tokens while /health answers, and /slots not', async () => {
    await using server = await start({ after: { tokens: 2, fault: 'hang' }, hangSlots: true });
    const giveUp = new AbortController();
    const hanging = call(server, '/v1/chat/completions', STREAM, giveUp.signal);
    await server.waitForCounters(({ tokens }) => tokens === 2);
    assert.equal((await call(server, '/health')).status, 200);
    const slots = call(server, '/slots', undefined, giveUp.signal);
    await server.waitForCounters(({ requests }) => requests['/slots'] === 1);
    giveUp.abort();
    await assert.rejects(slots, { name: 'AbortError' });
    await Promise.allSettled([hanging]);
    assert.equal((await server.waitForCounters(({ aborted }) => aborted === 1)).active, 1);
  });

  it('sends comments while it hangs, and answers /slots with counters that stand still', async () => {
    await using server = await startFakeLlamaServer({ pingMs: 10, faults: { after: { tokens: 2, fault: 'hang' } } });
    const giveUp = new AbortController();
    const hanging = call(server, '/v1/chat/completions', STREAM, giveUp.signal);
    await server.waitForCounters(({ tokens }) => tokens === 2);
    const first = await call(server, '/slots');
    const [slot] = JSON.parse(first.text) as Array<{
      is_processing: boolean;
      next_token: Array<{ n_decoded: number }>;
    }>;
    assert.ok(slot?.is_processing === true && slot.next_token[0]?.n_decoded === 2);
    await sleep(50);
    assert.equal((await call(server, '/slots')).text, first.text);
    giveUp.abort();
    const { text } = await hanging;
    assert.ok(text.split('\n').filter((line) => line === ':').length >= 3);
  });

  void linux('works while it hangs, or does nothing', async () => {
    for (const hangBusy of [true, false]) {
      await using server = await start({ after: { tokens: 1, fault: 'hang' }, hangBusy });
      const giveUp = new AbortController();
      const hanging = call(server, '/v1/chat/completions', STREAM, giveUp.signal);
      await server.waitForCounters(({ tokens }) => tokens === 1);
      const before = cpuTicksOf(server.pid);
      await sleep(500);
      assert.equal(cpuTicksOf(server.pid) - before >= 5, hangBusy);
      giveUp.abort();
      await Promise.allSettled([hanging]);
    }
  });

  it('hangs with /health as well', async () => {
    await using server = await start({ after: { tokens: 0, fault: 'hang' }, hangHealth: true });
    const giveUp = new AbortController();
    const all = [call(server, '/v1/chat/completions', STREAM, giveUp.signal)];
    await server.waitForCounters(({ active }) => active === 1);
    const health = server.counters().requests['/health'] ?? 0;
    all.push(call(server, '/health', undefined, giveUp.signal));
    await server.waitForCounters(({ requests }) => requests['/health'] === health + 1);
    giveUp.abort();
    const outcomes = await Promise.allSettled(all);
    assert.equal(outcomes[1]?.status, 'rejected');
  });

  it('ends the process with a code or by a signal after some tokens', async () => {
    for (const [end, expected] of [
      [{ exitCode: 3 }, { code: 3, signal: null }],
      [{ signal: 'SIGKILL' }, { code: null, signal: 'SIGKILL' }],
    ] as const) {
      await using server = await start({ after: { tokens: 3, fault: 'end-process', ...end } });
      const answer = await stream(server);
      assert.equal(frames(answer.text).length, 1 + 3);
      assert.notEqual(answer.error, null);
      const exit = await server.exited;
      if (process.platform !== 'win32') assert.deepEqual(exit, expected);
    }
  });

  void linux('is stopped by SIGSTOP and goes on after SIGCONT', async () => {
    await using server = await start({ after: { tokens: 1, fault: 'end-process', signal: 'SIGSTOP' } });
    const answer = stream(server);
    await server.waitForCounters(({ tokens }) => tokens === 1);
    while (!/^State:\s+T/m.test(stateOf(server.pid)));
    process.kill(server.pid, 'SIGCONT');
    assert.equal(frames((await answer).text).at(-1), '[DONE]');
  });

  it('ends a stream without its last frames, properly or by breaking the connection', async () => {
    for (const fault of ['end', 'destroy'] as const) {
      await using server = await start({ after: { tokens: 3, fault } });
      const { text, error } = await stream(server);
      assert.equal(frames(text).length, 1 + 3);
      assert.doesNotMatch(text, /DONE|finish_reason":"/);
      assert.equal(error === null, fault === 'end');
    }
  });

  it('cuts inside a frame or a character, properly or by breaking the connection', async () => {
    for (const fault of ['cut-frame', 'cut-character'] as const) {
      for (const destroy of [false, true]) {
        await using server = await start({ after: { tokens: 2, fault, destroy } });
        const { bytes, text, error } = await stream(server);
        const last = frames(text).at(-1) ?? '';
        assert.throws(() => JSON.parse(last), SyntaxError);
        assert.equal(error === null, !destroy);
        assert.equal(bytes.equals(Buffer.from(text)), fault === 'cut-frame', 'only a cut character is not UTF-8');
      }
    }
  });

  it('breaks whole answers in the same ways', async () => {
    for (const fault of ['cut-frame', 'cut-character', 'garbage', 'destroy'] as const) {
      await using server = await start({ after: { tokens: 2, fault } });
      const { text, error } = await stream(server, { stream: false });
      assert.throws(() => JSON.parse(text), SyntaxError);
      assert.equal(error !== null, fault === 'destroy');
    }
  });

  it('sends a frame that is not JSON, or bytes that are no frames', async () => {
    await using malformed = await start({ after: { tokens: 2, fault: 'malformed-frame' } });
    const { text } = await stream(malformed);
    assert.equal(frames(text).filter((frame) => frame.endsWith('{"content":"')).length, 1);
    assert.equal(frames(text).at(-1), '[DONE]');
    await using garbage = await start({ after: { tokens: 2, fault: 'garbage' } });
    const answer = await stream(garbage);
    assert.ok(!answer.bytes.equals(Buffer.from(answer.text)));
    assert.doesNotMatch(answer.text, /DONE/);
  });

  it('has faults in its first starts only', async () => {
    await using server = await start({ firstStarts: 0, startFailure: 'assertion' });
    assert.equal((await stream(server)).status, 200);
  });

  void linux('leaks', async () => {
    await using server = await start({ leakBytesPerRequest: 4_000_000 });
    const before = anonymousMemory(server.pid);
    for (let request = 0; request < 10; request += 1) await stream(server);
    assert.ok(anonymousMemory(server.pid) - before > 30_000_000);
  });
});

/** CPU time of a process, in ticks of 10 ms. */
function cpuTicksOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

function stateOf(pid: number): string {
  return readFileSync(`/proc/${pid}/status`, 'utf8');
}

/** Anonymous memory of a process, in bytes. */
function anonymousMemory(pid: number): number {
  return Number(/^RssAnon:\s+(\d+)/m.exec(stateOf(pid))?.[1]) * 1024;
}

function unregistered(): void {
  // The platform has nothing that this test could try.
}
