import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ConfigInput } from '../../core/config.ts';
import {
  type FakeLlamaServer,
  type FakeLlamaServerBehaviour,
  startFakeLlamaServer,
  writeFakeLlamaServerCommand,
} from '../../testing/index.ts';
import {
  dataOf,
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
const LONG = { ...HELLO, max_tokens: 1900, stream: true };
/** Ends a stream whose engine is lost with an error. */
const NO_CONTINUATION = { 'x-stream-continuation': 'off' };
const IDLE_MS = 1500;

/** What becomes of requests when an engine fails, hangs, dies or runs out of memory, seen over HTTP. */
describe('resilience', { timeout: 200_000 }, () => {
  let folder: Awaited<ReturnType<typeof modelFolder>>;
  let tiny = '';
  let slow = '';
  before(async () => {
    folder = await modelFolder();
    tiny = await folder.model('tiny');
    slow = await folder.model('slow');
  });
  after(() => folder[Symbol.asyncDispose]());

  /** A gateway that owns a double. */
  async function serveDouble(behaviour: FakeLlamaServerBehaviour, config: ConfigInput = {}) {
    const double = await writeFakeLlamaServerCommand(behaviour);
    const served = await serve({ ...config, model: tiny, engine: { ...config.engine, command: double.command } });
    return { ...served, double, [Symbol.asyncDispose]: () => disposeAll(served, double) };
  }

  describe('a frozen engine', { skip: process.platform === 'win32' && 'signals of POSIX' }, () => {
    const timeouts = { idle: IDLE_MS, firstToken: 20_000 };

    it('is noticed while it decodes, and whoever waits for an answer, or for the rest of it, gets it from the next one', async () => {
      await using served = await serve({ model: slow, timeouts, engine: { parallel: 4 } });
      const hangs = record(served, 'engine-hang');
      const exits = record(served, 'engine-exit');
      const stream = new StreamReader(await served.post(CHAT, LONG, NO_CONTINUATION));
      await stream.until('"content":"');
      const goingOn = new StreamReader(await served.post(CHAT, { ...LONG, max_tokens: 60 }));
      await goingOn.until('"content":"');
      const whole = [1, 2].map(() => served.post(CHAT, { ...HELLO, max_tokens: 30 }));
      await until(async () => (await busySlots(served)) === 4);
      const waiting = served.post(CHAT, HELLO);
      await until(async () => (await fetch(`${served.url}/livez`)).ok && served.provider.status().queued === 1);
      const noticed = nextEvent(served, 'engine-hang');
      const frozenAt = freeze(served);
      await noticed;
      const tookMs = performance.now() - frozenAt;
      assert.ok(tookMs <= IDLE_MS + 1000, `noticed after ${Math.round(tookMs)} ms`);
      assert.match(await stream.rest(), /data: \{"error":\{[^\n]*"code":"stream_interrupted"\}\}\n\n$/);
      assertWentOn(await goingOn.rest());
      for (const answer of whole) assert.equal((await answer).status, 200);
      assert.equal((await waiting).status, 200);
      assert.equal(hangs.length, 1);
      assert.deepEqual(
        exits.map(({ cause }) => cause),
        ['hung'],
      );
      assert.equal(served.provider.status().generation, 2);
      await until(async () => (await fetch(`${served.url}/livez`)).ok && served.provider.status().slotsInUse === 0);
    });

    it('is noticed while it reads a prompt, and the prompt is read by the next one', async () => {
      await using served = await serve(
        { model: slow, timeouts, engine: { args: ['--batch-size', '32', '--ubatch-size', '32'] } },
        { heartbeatIntervalMs: 20 },
      );
      const body = { ...HELLO, messages: [{ role: 'user', content: 'word '.repeat(100) }], stream: true };
      const stream = new StreamReader(await served.post(CHAT, body));
      await stream.until(': prompt ');
      const noticed = nextEvent(served, 'engine-hang');
      const frozenAt = freeze(served);
      await noticed;
      const tookMs = performance.now() - frozenAt;
      assert.ok(tookMs <= IDLE_MS + 1000, `noticed after ${Math.round(tookMs)} ms`);
      const answer = await stream.rest();
      assert.match(answer, /data: \[DONE\]\n\n$/);
      assert.ok(!answer.includes('"error"'));
      assert.equal(answer.match(/"role":"assistant"/g)?.length, 1, 'one answer');
    });
  });

  it('gives up one stream that falls silent beside others, and keeps its slot until the engine has freed it', async () => {
    const faults = { promptsWith: 'stuck', after: { tokens: 2, fault: 'hang' } } as const;
    await using served = await serveDouble(
      { faults, tokensPerSecond: 50 },
      { timeouts: { idle: 600, firstToken: 600 } },
    );
    const stuck = { messages: [{ role: 'user', content: 'stuck' }], stream: true };
    // It runs until the engine has been looked at twice, 1.5 s apart: beside a silent one it is what shows that the engine lives.
    const running = new StreamReader(await served.post(CHAT, { ...LONG, max_tokens: 250 }));
    const silent = await served.post(CHAT, stuck);
    const error = await errorOf(silent);
    assert.equal(error.code, 'deadline_exceeded');
    assert.match(error.message, /wait for the next token took longer than 600 ms/);
    const more = await Promise.all([served.post(CHAT, HELLO), served.post(CHAT, HELLO)]);
    assert.deepEqual(
      more.map(({ status }) => status),
      [200, 200],
    );
    assert.match(await running.rest(), /data: \[DONE\]\n\n$/);
    assert.equal(served.double.counters().waiting, 0);
    assert.equal(served.provider.status().generation, 1);
  });

  describe('the progress of a prompt', () => {
    const args = ['--batch-size', '32', '--ubatch-size', '32'];

    for (const { name, path, body, limit } of DIALECTS.filter((dialect) => /^(chat|responses)$/.test(dialect.name))) {
      it(`keeps a stream of ${name} alive as comments, and nothing else of it is seen`, async () => {
        await using served = await serve({ model: slow, engine: { args } }, { heartbeatIntervalMs: 10 });
        const stream = await (
          await served.post(path, { ...body('word '.repeat(60)), [limit]: 2, stream: true })
        ).text();
        const told = [...stream.matchAll(/^: prompt (\d+)\/(\d+) tokens$/gm)].map(([, read]) => Number(read));
        assert.ok(told.length >= 2, stream);
        assert.deepEqual(
          told,
          told.toSorted((a, b) => a - b),
        );
        assert.ok(
          stream.lastIndexOf(': prompt') < stream.indexOf('data: '),
          'nothing of the answer comes before a token',
        );
        assert.ok(!stream.includes('prompt_progress'));
      });
    }

    it('reaches a client that asks for it, and leaves the streams of all others as the engine sends them', async () => {
      await using served = await serve({ model: tiny, engine: { args } });
      for (const { name, path, body, limit } of DIALECTS) {
        const request = { ...body('word '.repeat(60)), [limit]: 4, stream: true, cache_prompt: false, temperature: 0 };
        const asking = await (await served.post(path, { ...request, return_progress: true })).text();
        const processed = dataOf(asking).filter((data) => 'prompt_progress' in data);
        // The engine knows no progress in Anthropic's dialect.
        assert.ok(name === 'messages' || processed.length >= 3, name);
        // Of a key that comes twice the last counts: this is what the engine streams when nobody asks.
        const plain = await (await served.post(path, { ...request, return_progress: false })).text();
        const filtered = await (await served.post(path, request)).text();
        assert.equal(normalised(filtered), normalised(plain), name);
      }
    });
  });

  describe('a stream that breaks in the middle', () => {
    const broken: [name: string, fault: NonNullable<FakeLlamaServerBehaviour['faults']>['after']][] = [
      ['is cut off', { tokens: 3, fault: 'destroy' }],
      ['ends too soon', { tokens: 3, fault: 'end' }],
      ['is cut inside a frame', { tokens: 3, fault: 'cut-frame' }],
      ['is cut inside a character', { tokens: 3, fault: 'cut-character', destroy: true }],
      ['has a frame that is not JSON', { tokens: 3, fault: 'malformed-frame' }],
      ['becomes garbage', { tokens: 3, fault: 'garbage' }],
    ];
    for (const [name, fault] of broken) {
      it(`goes on with another request when it ${name}`, async () => {
        const faults = { firstRequests: 1, after: fault };
        await using served = await serveAttached({ faults });
        const body = { ...HELLO, max_tokens: 8, stream: true };
        const stream = await (await served.post(CHAT, body)).text();
        assertWentOn(stream);
        const unbroken = await (await served.post(CHAT, body)).text();
        assert.equal(textOf(stream), textOf(unbroken));
        assert.equal(await requestsAt(served.double, 3), 3);
      });
    }

    it('goes on three times, and then ends with an error', async () => {
      await using served = await serveAttached({ faults: { after: { tokens: 3, fault: 'destroy' } } });
      const continued = record(served, 'stream-continued');
      const stream = await (await served.post(CHAT, { ...HELLO, max_tokens: 8, stream: true })).text();
      assert.match(stream, /"content":"[^]*"code":"stream_interrupted"\}\}\n\n$/);
      assert.ok(!stream.includes('[DONE]'));
      assert.deepEqual(
        continued.map(({ attempt, way }) => [attempt, way]),
        [1, 2, 3].map((attempt) => [attempt, 'replay']),
      );
      const { inFlight, slotsInUse } = served.provider.status();
      assert.deepEqual({ inFlight, slotsInUse }, { inFlight: 0, slotsInUse: 0 });
    });

    it('is not called a wrong request when the next engine refuses to go on with it', async () => {
      // Only the request that goes on has a text of the answer in it.
      const faults = { promptsWith: ' 2', refuse: { status: 400 } };
      await using served = await serveDouble({ faults, tokensPerSecond: 20 }, { engine: { restart: { delay: 1 } } });
      const continued = nextEvent(served, 'stream-continued');
      const stream = new StreamReader(await served.post(CHAT, { ...LONG, max_tokens: 60 }));
      await stream.until('"content":" 3"');
      process.kill(served.provider.status().pid ?? 0, 'SIGKILL');
      assert.match(await stream.rest(), /data: \{"error":\{[^\n]*"code":"stream_interrupted"\}\}\n\n$/);
      assert.equal((await continued).way, 'text');
    });

    it('goes on when its engine falls silent, and keeps to its slot', async () => {
      const faults = {
        firstStarts: 1,
        after: { tokens: 3, fault: 'hang' },
        hangSlots: true,
        hangHealth: true,
      } as const;
      await using served = await serveDouble(
        { faults },
        { timeouts: { idle: 400, firstToken: 400 }, engine: { restart: { delay: 1 } } },
      );
      assertWentOn(await (await served.post(CHAT, { ...HELLO, max_tokens: 8, stream: true })).text());
      const { inFlight, slotsInUse } = served.provider.status();
      assert.deepEqual({ inFlight, slotsInUse }, { inFlight: 0, slotsInUse: 0 });
    });
  });

  describe('the circuit breaker', () => {
    const circuitBreaker = { failureThreshold: 5, resetTimeout: 400, halfOpenRequests: 2 };

    it('opens after five failures, tries again, and closes', async () => {
      const faults = { firstRequests: 6, refuse: { status: 500 } };
      await using served = await serveAttached({ faults }, { circuitBreaker });
      const changes = record(served, 'circuit');
      const askAndRead = async () => {
        const answer = await served.post(CHAT, HELLO);
        return answer.status === 200 ? 'ok' : (await errorOf(answer)).code;
      };
      const halfOpen = () =>
        until(async () => (await fetch(`${served.url}/livez`)).ok && served.provider.status().circuit === 'half-open');
      for (let count = 0; count < 5; count += 1) assert.equal(await askAndRead(), 'engine_error');
      const open = await served.post(CHAT, HELLO);
      assert.equal(open.status, 503);
      assert.equal(open.headers.get('retry-after'), '1');
      assert.equal((await errorOf(open)).code, 'circuit_open');
      assert.equal(await requestsAt(served.double, 5), 5);
      assert.equal((await served.post('/tokenize', { content: 'hello' })).status, 200, 'what needs no slot passes');
      await halfOpen();
      assert.equal(await askAndRead(), 'engine_error');
      assert.equal(await askAndRead(), 'circuit_open');
      await halfOpen();
      assert.deepEqual([await askAndRead(), await askAndRead(), await askAndRead()], ['ok', 'ok', 'ok']);
      assert.deepEqual(
        changes.map(({ to }) => to),
        ['open', 'half-open', 'open', 'half-open', 'closed'],
      );
    });

    it('is not opened by the death of an engine that is started again', async () => {
      await using served = await serve({
        model: slow,
        engine: { parallel: 4, restart: { delay: 1 } },
        circuitBreaker: { ...circuitBreaker, failureThreshold: 2 },
      });
      const changes = record(served, 'circuit');
      const open = async (body: object, headers = {}) => new StreamReader(await served.post(CHAT, body, headers));
      const broken = await Promise.all([1, 2, 3].map(() => open(LONG, NO_CONTINUATION)));
      const goingOn = await open({ ...LONG, max_tokens: 40 });
      await Promise.all([...broken, goingOn].map((stream) => stream.until('"content":"')));
      process.kill(served.provider.status().pid ?? 0, 'SIGKILL');
      for (const stream of broken) assert.match(await stream.rest(), /"code":"stream_interrupted"/);
      assertWentOn(await goingOn.rest());
      assert.equal((await served.post(CHAT, HELLO)).status, 200);
      assert.deepEqual(changes, []);
    });

    it('is not opened by faults of requests, nor by callers that leave', async () => {
      await using served = await serve({ model: tiny, circuitBreaker: { ...circuitBreaker, failureThreshold: 1 } });
      assert.equal((await served.post(CHAT, { ...HELLO, grammar: 'no grammar' })).status, 400);
      const controller = new AbortController();
      await new StreamReader(await served.post(CHAT, LONG, {}, controller.signal)).until('data: ');
      controller.abort();
      assert.equal((await served.post(CHAT, HELLO, { 'x-request-timeout': '1' })).status, 504);
      assert.equal((await served.post(CHAT, HELLO)).status, 200);
    });
  });

  describe('a retry', () => {
    const retry = { maxRetries: 3, retryDelay: 20 };

    it('comes after a 503, until it is answered', async () => {
      await using served = await serveAttached({ faults: { firstRequests: 2, refuse: { status: 503 } } }, { retry });
      const retries = record(served, 'retry');
      assert.equal((await served.post(CHAT, HELLO)).status, 200);
      assert.deepEqual(
        retries.map(({ attempt, reason }) => [attempt, reason]),
        [
          [1, '503'],
          [2, '503'],
        ],
      );
      assert.equal(await requestsAt(served.double, 3), 3);
    });

    it('comes no oftener than configured, and not before the engine allows it', async () => {
      const faults = { refuse: { status: 503, retryAfterSeconds: 1 } };
      await using served = await serveAttached({ faults }, { retry: { ...retry, maxRetries: 1 } });
      const retries = record(served, 'retry');
      const startedAt = performance.now();
      const refused = await served.post(CHAT, HELLO);
      assert.equal(refused.status, 503);
      assert.ok(Number(refused.headers.get('retry-after')) >= 1);
      assert.ok(performance.now() - startedAt >= 990);
      assert.deepEqual(
        retries.map(({ delayMs }) => delayMs),
        [1000],
      );
    });

    it('never comes for a fault of the request, nor once an answer has begun that may not go on', async () => {
      const refusing = { faults: { refuse: { status: 400 } } };
      await using wrong = await serveAttached(refusing, { retry: { ...retry, retryableErrors: ['400', '503'] } });
      assert.equal((await wrong.post(CHAT, HELLO)).status, 400);
      assert.equal(await requestsAt(wrong.double, 1), 1);
      const breaking = { faults: { after: { tokens: 2, fault: 'destroy' } } } as const;
      await using broken = await serveAttached(breaking, { retry });
      const retries = record(broken, 'retry');
      const stream = await (await broken.post(CHAT, { ...HELLO, stream: true }, NO_CONTINUATION)).text();
      assert.match(stream, /"content":"[^]*"code":"stream_interrupted"\}\}\n\n$/);
      assert.equal(await requestsAt(broken.double, 1), 1);
      assert.deepEqual(retries, []);
    });

    it('is not needed behind a stream, where llama-server closes the connection', async () => {
      await using served = await serve({ model: tiny });
      const retries = record(served, 'retry');
      for (let count = 0; count < 60; count += 1) {
        for (const stream of [true, false]) assert.equal(await statusOf(served.post(CHAT, { ...HELLO, stream })), 200);
      }
      assert.deepEqual(retries, []);
    });

    it('is given up at once when its caller leaves', async () => {
      await using served = await serveAttached(
        { faults: { refuse: { status: 503 } } },
        { retry: { retryDelay: 60_000 } },
      );
      const controller = new AbortController();
      const retrying = nextEvent(served, 'retry');
      const asking = served.post(CHAT, HELLO, {}, controller.signal);
      assert.ok((await retrying).delayMs >= 30_000);
      const ended = nextEvent(served, 'error');
      controller.abort();
      await assert.rejects(asking, { name: 'AbortError' });
      assert.equal((await ended).error.code, 'cancelled');
      const { inFlight, slotsInUse } = served.provider.status();
      assert.deepEqual({ inFlight, slotsInUse }, { inFlight: 0, slotsInUse: 0 });
    });
  });

  describe('a request that ends engines', { skip: process.platform === 'win32' && 'signals of POSIX' }, () => {
    const POISON = { messages: [{ role: 'user', content: 'poison' }] };

    it('is refused after the second, and those beside it are served', async () => {
      const faults = { promptsWith: 'poison', after: { tokens: 2, fault: 'end-process', signal: 'SIGSEGV' } } as const;
      await using served = await serveDouble(
        { faults, tokensPerSecond: 20 },
        { engine: { parallel: 4, restart: { delay: 1 } } },
      );
      const suspects = record(served, 'request-suspect');
      const bystander = served.post(CHAT, { ...HELLO, max_tokens: 12 });
      const another = served.post('/completion', { prompt: 'fine', n_predict: 12 });
      await until(() => served.double.counters().active === 2);
      const poison = await served.post(CHAT, POISON);
      assert.equal(poison.status, 502);
      assert.equal((await bystander).status, 200);
      assert.equal((await another).status, 200);
      assert.deepEqual(
        suspects.filter(({ refused }) => refused).map(({ strikes }) => strikes),
        [2],
      );
      assert.equal(served.provider.status().crashes, 2);
      const refused = await served.post(CHAT, POISON);
      assert.equal(refused.status, 422);
      assert.equal((await errorOf(refused)).code, 'poisonous_request');
      assert.equal(refused.headers.get('retry-after'), null);
      assert.equal((await served.post(CHAT, { ...HELLO, max_tokens: 12 })).status, 200);
      assert.equal(served.provider.status().crashes, 2);
    });

    it('is not one that was there when somebody ended the engine', async () => {
      await using served = await serve({ model: slow });
      const suspects = record(served, 'request-suspect');
      for (let deaths = 0; deaths < 2; deaths += 1) {
        const stream = new StreamReader(await served.post(CHAT, LONG, NO_CONTINUATION));
        await stream.until('"content":"');
        process.kill(served.provider.status().pid ?? 0, 'SIGKILL');
        assert.match(await stream.rest(), /"code":"stream_interrupted"/);
      }
      const stream = new StreamReader(await served.post(CHAT, LONG));
      await stream.until('"content":"');
      assert.deepEqual(suspects, []);
    });
  });

  describe('memory', { skip: process.platform !== 'linux' && 'measured on Linux only' }, () => {
    it('of llamero near its limit: new requests are refused, running ones finish', async () => {
      const megabyte = 1024 * 1024;
      // Requests are refused from nine tenths on; until then there is room for what starting takes.
      const memoryLimit = Math.ceil((process.memoryUsage.rss() / megabyte + 100) / 0.9);
      await using served = await serve({ model: slow, memoryLimit });
      const stream = new StreamReader(await served.post(CHAT, { ...LONG, max_tokens: 100 }));
      await stream.until('"content":"');
      const pressed = nextEvent(served, 'memory');
      const held = Buffer.alloc(240 * megabyte, 1);
      assert.equal((await pressed).of, 'llamero');
      const refused = await served.post(CHAT, HELLO);
      assert.equal(refused.status, 503);
      assert.equal(refused.headers.get('retry-after'), '5');
      assert.equal((await errorOf(refused)).code, 'memory_pressure');
      assert.match(await stream.rest(), /data: \[DONE\]\n\n$/);
      assert.equal(held.length, 240 * megabyte);
    });

    it('of an engine at its limit: it is replaced when its streams have ended whole', async () => {
      await using served = await serveDouble(
        { faults: { firstStarts: 1, leakBytesPerRequest: 200_000_000 }, tokensPerSecond: 20 },
        { engine: { memoryLimit: 160 } },
      );
      const exited = nextEvent(served, 'engine-exit');
      const pressed = nextEvent(served, 'memory');
      const stream = new StreamReader(await served.post(CHAT, { ...LONG, max_tokens: 120 }));
      assert.equal((await pressed).of, 'engine');
      const waiting = served.post(CHAT, HELLO);
      const text = await stream.rest();
      assert.match(text, /"finish_reason":"length"[^]*data: \[DONE\]\n\n$/);
      assert.ok(!text.includes('"error"'));
      assert.equal((await exited).cause, 'memory_limit');
      assert.equal((await waiting).status, 200);
      const { generation, crashes } = served.provider.status();
      assert.deepEqual({ generation, crashes }, { generation: 2, crashes: 0 });
    });
  });
});

/** Asserts that a stream is whole, and that another request ended it. */
function assertWentOn(stream: string): void {
  assert.match(stream, /data: \[DONE\]\n\n$/);
  assert.equal(stream.match(/"finish_reason":"length"/g)?.length, 1, stream);
  assert.equal(stream.match(/"role":"assistant"/g)?.length, 1, stream);
  assert.match(stream, /^: continued$/m);
  assert.ok(!stream.includes('"error"'), stream);
}

/** The text that the events of a chat stream add up to. */
function textOf(stream: string): string {
  return dataOf(stream)
    .map((data) => (data as { choices: { delta: { content?: string } }[] }).choices[0]?.delta.content ?? '')
    .join('');
}

/** A gateway attached to a double that somebody else runs. */
async function serveAttached(behaviour: FakeLlamaServerBehaviour, config: ConfigInput = {}) {
  const double = await startFakeLlamaServer(behaviour);
  const served = await serve({ ...config, engineUrl: double.url });
  return { ...served, double, [Symbol.asyncDispose]: () => disposeAll(served, double) };
}

/** Status of an answer that has been read to its end. */
async function statusOf(asking: Promise<Response>): Promise<number> {
  const answer = await asking;
  await answer.text();
  return answer.status;
}

/** How many requests a double has taken on, once it is as many as that: what it has seen is written down a moment later. */
async function requestsAt(double: FakeLlamaServer, least: number): Promise<number> {
  const { started } = await double.waitForCounters((counters) => counters.started >= least);
  return started;
}

async function disposeAll(served: Served, double: AsyncDisposable): Promise<void> {
  await served[Symbol.asyncDispose]();
  await double[Symbol.asyncDispose]();
}

/** Stops the engine's process. @returns when. */
function freeze({ provider }: Served): number {
  process.kill(provider.status().pid ?? 0, 'SIGSTOP');
  return performance.now();
}

async function busySlots({ url }: Served): Promise<number> {
  const slots = (await (await fetch(`${url}/slots`)).json()) as { is_processing: boolean }[];
  return slots.filter((slot) => slot.is_processing).length;
}

/** A stream apart from what differs from run to run: comments, ids, times, slots, and what was cached. */
function normalised(stream: string): string {
  return stream
    .replaceAll(/^:[^\n]*\n\n/gm, '')
    .replaceAll(/"(chatcmpl-|resp_|msg_|rs_)\w+"/g, '"$1"')
    .replaceAll(/"(created|created_at|completed_at|id_slot|\w+_ms|\w+_per_second)":[\d.e+-]+/g, '"$1":0')
    .replaceAll(/"(cache_n|prompt_n|tokens_cached|cached_tokens|cache_read_input_tokens|input_tokens)":\d+/g, '"$1":0');
}
