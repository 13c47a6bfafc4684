import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  DIALECTS,
  errorOf,
  modelFolder,
  nextEvent,
  record,
  serve,
  type Served,
  StreamReader,
  until,
} from './served-engine.ts';

const CHAT = '/v1/chat/completions';
const HELLO = { messages: [{ role: 'user', content: 'hello' }], max_tokens: 4, temperature: 0 };
/** Runs for as long as any of these tests. */
const LONG = { ...HELLO, max_tokens: 1900, stream: true };

/** Admission, seen over HTTP in front of a real llama-server. */
describe('admission', { timeout: 120_000 }, () => {
  let folder: Awaited<ReturnType<typeof modelFolder>>;
  let tiny = '';
  let slow = '';
  before(async () => {
    folder = await modelFolder();
    tiny = await folder.model('tiny');
    slow = await folder.model('slow');
  });
  after(() => folder[Symbol.asyncDispose]());

  describe('with one slot', () => {
    let served: Served;
    before(async () => {
      served = await serve({ model: slow, engine: { parallel: 1 }, maxQueue: 2 }, { heartbeatIntervalMs: 30 });
    });
    after(() => served[Symbol.asyncDispose]());

    it('refuses what the queue cannot hold, and takes in who has less waiting than others', async () => {
      const running = await occupy(served);
      const flood = [1, 2, 3].map(() => served.post(CHAT, HELLO, { 'x-user-id': 'flood' }));
      const full = await Promise.race(flood);
      assert.equal(full.status, 503);
      assert.ok(Number(full.headers.get('retry-after')) >= 1);
      assert.equal((await errorOf(full)).code, 'queue_full');
      const modest = served.post(CHAT, HELLO, { 'x-user-id': 'modest' });
      await running.leave();
      assert.equal((await modest).status, 200);
      const statuses = (await Promise.all(flood)).map(({ status }) => status);
      assert.deepEqual(
        statuses.toSorted((a, b) => a - b),
        [200, 503, 503],
      );
    });

    it('tells a waiting client its place, at the start and while it waits', async () => {
      const running = await occupy(served);
      const asking = { 'x-queue-position': '1' };
      const first = await served.post(CHAT, { ...HELLO, stream: true }, asking);
      assert.equal(first.headers.get('x-queue-position'), '1');
      const second = await served.post(CHAT, { ...HELLO, stream: true }, asking);
      assert.equal(second.headers.get('x-queue-position'), '2');
      const reader = new StreamReader(second);
      await reader.until(': queue position 2\n\n: queue position 2\n\n');
      await running.leave();
      assert.match(
        await new StreamReader(first).rest(),
        /^(: queue position 1\n\n)+(: prompt[^\n]*\n\n|: heartbeat\n\n)*data: \{[^]*data: \[DONE\]\n\n$/,
      );
      assert.match(await reader.rest(), /: queue position 1\n\n[^]*data: \[DONE\]\n\n$/);
      const whole = await served.post(CHAT, HELLO, asking);
      assert.equal(whole.headers.get('x-queue-position'), null, 'it did not wait');
    });

    it('forgets a client that leaves while it waits', async () => {
      const running = await occupy(served);
      const requests = record(served, 'response');
      for (const body of [HELLO, { ...HELLO, stream: true }]) {
        const controller = new AbortController();
        const left = nextEvent(served, 'error');
        const waiting = served.post(CHAT, body, {}, controller.signal);
        await until(async () => (await fetch(`${served.url}/livez`)).ok && served.provider.status().queued === 1);
        controller.abort();
        await assert.rejects(waiting, { name: 'AbortError' });
        assert.equal((await left).error.code, 'cancelled');
        const { queued, inFlight, slotsInUse } = served.provider.status();
        assert.deepEqual({ queued, inFlight, slotsInUse }, { queued: 0, inFlight: 1, slotsInUse: 1 });
      }
      await running.leave();
      assert.equal((await served.post(CHAT, HELLO)).status, 200);
      assert.equal(requests.length, 1, 'the engine was asked once');
    });

    it('refuses at once whose turn comes too late, as soon as it knows its speed', async () => {
      for (let count = 0; count < 5; count += 1) await (await served.post(CHAT, { ...HELLO, max_tokens: 20 })).text();
      const running = await occupy(served);
      const late = await served.post(CHAT, HELLO, { 'x-request-timeout': '20' });
      assert.equal(late.status, 503);
      assert.ok(Number(late.headers.get('retry-after')) >= 1);
      const error = await errorOf(late);
      assert.equal(error.code, 'queue_timeout');
      assert.match(error.message, /^Its turn would come after about \d+ ms, and it may wait \d+(\.\d+)? ms/);
      await running.leave();
    });

    it('tells of a prompt that fits no slot before it takes one', async () => {
      const running = await occupy(served);
      for (const { name, path, body } of DIALECTS) {
        for (const stream of [false, true]) {
          const answer = await served.post(path, { ...body('word '.repeat(3000)), max_tokens: 5, stream });
          assert.equal(answer.status, 400, name);
          const { code, message } = await errorOf(answer);
          assert.equal(code, 'context_length_exceeded', name);
          assert.match(message, /has \d{4} tokens.* a context of 2048/, name);
        }
      }
      assert.match(await running.reader.next(), /"content":"/, 'whoever was there goes on');
      await running.leave();
    });
  });

  it('ends the wait of a client by its own limit and by that of the queue', async () => {
    await using served = await serve({ model: slow, engine: { parallel: 1 }, timeouts: { queue: 400 } });
    await occupy(served);
    const own = await served.post(CHAT, HELLO, { 'x-request-timeout': '100' });
    assert.equal(own.status, 504);
    assert.match((await errorOf(own)).message, /whole request took longer than 100 ms/);
    const ours = await served.post(CHAT, HELLO, { 'x-request-timeout': '60000' });
    assert.equal(ours.status, 503);
    assert.equal(ours.headers.get('retry-after'), '1');
    assert.equal((await errorOf(ours)).code, 'queue_timeout');
    const opened = await served.post(CHAT, { ...HELLO, stream: true }, { 'x-queue-position': '1' });
    assert.equal(opened.status, 200, 'its head is out already');
    assert.equal((await errorOf(opened)).code, 'queue_timeout');
  });

  it('never lets a request wait in the queue of the engine', async () => {
    // At this verbosity llama-server tells whenever it puts a task off.
    await using served = await serve({ model: tiny, engine: { args: ['--log-verbosity', '5'] } });
    let putOff = 0;
    let launched = 0;
    served.provider.on('engine-log', ({ line }) => {
      if (line.includes('defer task')) putOff += 1;
      if (line.includes('processing task')) launched += 1;
    });
    const abort = () => abortAfterFirstEvent(served);
    const kinds: readonly (() => Promise<Response | null>)[] = [
      () => served.post(CHAT, short(20)),
      () => served.post(CHAT, { ...short(30), stream: true }),
      () => served.post(CHAT, { ...short(10), n: 2 }),
      () => served.post('/v1/embeddings', { input: ['one', 'two'] }),
      () => served.post('/v1/completions', { prompt: ['one', 'two'], max_tokens: 5 }),
      () => served.post('/v1/messages', { ...short(10), stream: true }),
      () => served.post('/v1/responses', { input: 'hello', max_output_tokens: 10, stream: true }),
      abort,
      () => served.post('/v1/embeddings', { input: 'one' }),
      () => served.post('/tokenize', { content: 'one' }),
    ];
    const asking = Array.from({ length: 40 }, (_, index) => (kinds[index % kinds.length] ?? abort)());
    for (const answer of await Promise.all(asking)) {
      if (answer === null) continue;
      const body = await answer.text();
      assert.equal(answer.status, 200, body);
    }
    assert.ok(launched >= 40, `${launched} tasks were launched`);
    assert.equal(putOff, 0);
    await until(async () => (await fetch(`${served.url}/livez`)).ok && served.provider.status().slotsInUse === 0);
    const { inFlight, queued } = served.provider.status();
    assert.deepEqual({ inFlight, queued }, { inFlight: 0, queued: 0 });
  });
});

/** Takes a slot until it is aborted. */
async function occupy(served: Served) {
  const controller = new AbortController();
  const reader = new StreamReader(await served.post(CHAT, LONG, {}, controller.signal));
  await reader.until('data: ');
  return {
    reader,
    leave: async () => {
      const left = nextEvent(served, 'error');
      controller.abort();
      await left;
    },
  };
}

/** A chat of so many tokens. */
function short(tokens: number) {
  return { messages: HELLO.messages, max_tokens: tokens };
}

/** A stream whose client goes as soon as it gets something. */
async function abortAfterFirstEvent(served: Served): Promise<null> {
  const controller = new AbortController();
  const answer = await served.post(CHAT, LONG, {}, controller.signal);
  await new StreamReader(answer).until('data: ');
  controller.abort();
  return null;
}
