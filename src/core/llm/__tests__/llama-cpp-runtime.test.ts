import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { LlameroError } from '../../errors.ts';
import type { Exchange } from '../../exchange.ts';
import { ANONYMOUS } from '../../admission/client.ts';
import { workOf } from '../../openai/request-work.ts';
import { engineRoute } from '../../openai/routes.ts';
import { startFakeLlamaServer, writeFakeLlamaServerCommand } from '../../../testing/index.ts';
import { LlamaCppProvider } from '../llama-cpp-provider.ts';
import {
  busySlots,
  isAlive,
  nextEvent,
  openDescriptors,
  realProvider,
  record,
  socketOf,
  temporaryDirectory,
  tinyModel,
  untilAsync,
} from './fixtures.ts';
// Two groups of this suite, in files of their own.
import './runtime/memory-management.ts';
import './runtime/rate-limiting.ts';

const DEADLINE = { timeout: 30_000 };
const unix = process.platform !== 'win32';

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let model: string;
let slowModel: string;

before(async () => {
  directory = await temporaryDirectory();
  model = await tinyModel(directory.path);
  slowModel = await tinyModel(directory.path, { preset: 'slow' });
});
after(() => directory[Symbol.asyncDispose]());

/** A provider over the double, which takes the place of llama-server. */
async function doubledProvider(
  settings: Parameters<typeof writeFakeLlamaServerCommand>[0],
  options: Parameters<typeof realProvider>[1] = {},
) {
  const double = await writeFakeLlamaServerCommand(settings);
  const provider = realProvider(model, { ...options, engine: { ...options.engine, command: double.command } });
  return {
    provider,
    double,
    [Symbol.asyncDispose]: async () => {
      await provider.cleanup();
      await double[Symbol.asyncDispose]();
    },
  };
}

describe('Server Startup and Connection', () => {
  it('verifies health and properties before any request goes to the engine', DEADLINE, async () => {
    await using provider = realProvider(model);
    const states = record(provider, 'engine-state');
    const { text } = await provider.generate('Hello', { maxTokens: 4 });
    assert.ok(text.length > 0);
    assert.deepEqual(
      states.map((change) => change.to),
      ['starting', 'ready'],
    );
    const { contextLength, slots, state, processCount } = provider.getModelInfo();
    assert.deepEqual(
      { contextLength, slots, state, processCount },
      { contextLength: 2048, slots: 4, state: 'ready', processCount: 0 },
    );
  });

  it(
    'keeps the socket in a directory that only its user may enter',
    { ...DEADLINE, skip: !unix && 'UNIX sockets only' },
    async () => {
      await using provider = realProvider(model);
      const started = nextEvent(provider, 'engine-start');
      await provider.start();
      const socketPath = socketOf((await started).args);
      assert.equal((await stat(path.dirname(socketPath))).mode & 0o777, 0o700);
      assert.equal((await stat(path.dirname(path.dirname(socketPath)))).mode & 0o777, 0o700);
    },
  );

  it('waits for a slow load that makes progress, however long it takes', DEADLINE, async () => {
    await using doubled = await doubledProvider({ faults: { loadMs: 1500 } }, { engine: { startupTimeout: 400 } });
    const { text } = await doubled.provider.generate('Hello', { maxTokens: 2 });
    assert.ok(text.length > 0);
  });

  it('gives up a start without progress and says so', DEADLINE, async () => {
    await using doubled = await doubledProvider(
      { faults: { neverReady: true, loadProgress: false } },
      { engine: { startupTimeout: 400, restart: { maxRestarts: 0 } } },
    );
    const exits = record(doubled.provider, 'engine-exit');
    await assert.rejects(doubled.provider.generate('Hello'), { code: 'engine_unavailable', message: /no progress/ });
    assert.equal(exits[0]?.cause, 'startup_timeout');
  });

  it('gives up a server that answers with bytes that are not HTTP', DEADLINE, async () => {
    await using doubled = await doubledProvider(
      { faults: { garbageHttp: true, loadProgress: false } },
      { engine: { startupTimeout: 400, restart: { maxRestarts: 0 } } },
    );
    await assert.rejects(doubled.provider.generate('Hello'), { code: 'engine_unavailable' });
  });

  it('gives up a server that never listens', DEADLINE, async () => {
    await using doubled = await doubledProvider(
      { faults: { listenAfterMs: 60_000, loadProgress: false } },
      { engine: { startupTimeout: 400, restart: { maxRestarts: 0 } } },
    );
    await assert.rejects(doubled.provider.start(), { code: 'engine_unavailable' });
    assert.equal(doubled.provider.getModelInfo().state, 'failed');
  });

  it('lets requests that arrive meanwhile wait within their own deadline', DEADLINE, async () => {
    await using doubled = await doubledProvider({ faults: { neverReady: true } }, { timeouts: { queue: 300 } });
    const startedAt = performance.now();
    await assert.rejects(doubled.provider.generate('Hello'), { code: 'engine_starting', retryable: true });
    assert.ok(performance.now() - startedAt < 5000);
    const controller = new AbortController();
    const waiting = doubled.provider.generate('Hello', { signal: controller.signal });
    controller.abort();
    await assert.rejects(waiting, { code: 'cancelled' });
    assert.equal(doubled.provider.getModelInfo().processCount, 0);
  });

  it('recovers from a crash by itself, first with no delay', DEADLINE, async () => {
    await using provider = realProvider(model);
    await provider.start();
    const crashed = nextEvent(provider, 'engine-exit');
    process.kill(provider.status().pid ?? 0, 'SIGKILL');
    const { cause, expected, signal } = await crashed;
    assert.deepEqual({ cause, expected, signal }, { cause: 'killed', expected: false, signal: 'SIGKILL' });
    const { text } = await provider.generate('Hello', { maxTokens: 4 });
    assert.ok(text.length > 0);
    assert.equal(provider.status().generation, 2);
  });

  it('backs off between crashes, fails after too many, and goes on trying slowly', DEADLINE, async () => {
    await using doubled = await doubledProvider(
      { faults: { startFailure: 'assertion', firstStarts: 4 } },
      { engine: { restart: { maxRestarts: 2, delay: 20, maxDelay: 60 } } },
    );
    const { provider } = doubled;
    const backoffs = record(provider, 'engine-backoff');
    const failed = nextEvent(provider, 'engine-state', (change) => change.to === 'failed');
    const recovered = nextEvent(provider, 'engine-state', (change) => change.to === 'ready');
    await assert.rejects(provider.start(), { code: 'engine_unavailable', message: /assertion/i });
    await failed;
    assert.equal(backoffs.length, 2);
    assert.ok((backoffs[1]?.delayMs ?? 0) >= 10);
    await recovered;
    assert.ok((await provider.generate('Hello', { maxTokens: 2 })).text.length > 0);
  });

  for (const startFailure of [
    'wrong_option',
    'model_missing',
    'model_not_gguf',
    'model_unknown_architecture',
  ] as const) {
    it(`takes ${startFailure} as final: no restart loop`, DEADLINE, async () => {
      await using doubled = await doubledProvider({ faults: { startFailure } });
      const starts = record(doubled.provider, 'engine-start');
      await assert.rejects(doubled.provider.start(), { code: 'engine_unavailable' });
      await assert.rejects(doubled.provider.generate('Hello'), { code: 'engine_unavailable' });
      assert.equal(doubled.provider.status().cause?.name, startFailure);
      assert.equal(starts.length, 1);
    });
  }

  it('names a wrong option of the real llama-server, with its last log lines', DEADLINE, async () => {
    await using provider = realProvider(model, { engine: { args: ['--no-such-option'] } });
    const exited = nextEvent(provider, 'engine-exit');
    await assert.rejects(provider.start(), { code: 'engine_unavailable', message: /option/ });
    const { cause, log } = await exited;
    assert.equal(cause, 'wrong_option');
    assert.match(log.join('\n'), /--no-such-option/);
  });

  it('names a missing model before anything is started', DEADLINE, async () => {
    await using provider = realProvider(path.join(directory.path, 'missing.gguf'));
    await assert.rejects(provider.start(), (error) => {
      assert.ok(error instanceof LlameroError);
      assert.equal(error.details['cause'], 'model_missing');
      assert.match((error.cause as Error).message, /missing\.gguf/);
      return true;
    });
  });

  it('resolves a port conflict by taking another port', DEADLINE, async () => {
    const occupant = createServer().listen(0, '127.0.0.1');
    await once(occupant, 'listening');
    const { port } = occupant.address() as { port: number };
    try {
      await using provider = realProvider(model, { engine: { transport: 'tcp', port } });
      const exits = record(provider, 'engine-exit');
      const starts = record(provider, 'engine-start');
      assert.ok((await provider.generate('Hello', { maxTokens: 2 })).text.length > 0);
      assert.deepEqual(
        exits.map((exit) => exit.cause),
        ['port_taken'],
      );
      assert.equal(starts.at(-1)?.args.includes(String(port + 1)), true);
      assert.equal(provider.status().crashes, 0, 'a taken port is no crash');
    } finally {
      occupant.close();
    }
  });

  it('closes a TCP engine to everybody else', DEADLINE, async () => {
    await using provider = realProvider(model, { engine: { transport: 'tcp' } });
    const started = nextEvent(provider, 'engine-start');
    await provider.start();
    const { args } = await started;
    const port = args[args.indexOf('--port') + 1];
    const response = await fetch(`http://127.0.0.1:${port}/completion`, { method: 'POST', body: '{"prompt":"x"}' });
    assert.equal(response.status, 401);
  });
});

describe('Supervision', () => {
  it('is not held at stop by a request in flight, and leaves nothing behind', DEADLINE, async () => {
    const provider = realProvider(slowModel);
    const started = nextEvent(provider, 'engine-start');
    const running = provider.stream('Hello', { maxTokens: 1000 });
    await running.next();
    const { pid } = provider.status();
    const startedAt = performance.now();
    const broken = assert.rejects(
      async () => {
        for (;;) if ((await running.next()).done === true) return;
      },
      { code: 'engine_unavailable' },
    );
    await provider.stop();
    await broken;
    assert.ok(performance.now() - startedAt < 3000);
    assert.equal(await isAlive(pid ?? 0), false);
    if (unix) await assert.rejects(stat(path.dirname(socketOf((await started).args))), { code: 'ENOENT' });
  });

  it('kills an engine that ignores SIGTERM', DEADLINE, async () => {
    const { provider, double } = await doubledProvider({ faults: { ignoreSigterm: true } });
    await provider.start();
    const { pid } = provider.status();
    await provider.stop();
    assert.equal(await isAlive(pid ?? 0), false);
    await double[Symbol.asyncDispose]();
  });

  it('stops while the engine is still starting', DEADLINE, async () => {
    await using doubled = await doubledProvider({ faults: { neverReady: true } });
    const spawned = nextEvent(doubled.provider, 'engine-start');
    const waiting = assert.rejects(doubled.provider.start(), { code: 'engine_unavailable' });
    await spawned;
    await doubled.provider.stop();
    await waiting;
    assert.equal(doubled.provider.getModelInfo().state, 'stopped');
  });

  it('survives a log that floods, with and without line ends', DEADLINE, async () => {
    for (const logFloodOneLine of [false, true]) {
      await using doubled = await doubledProvider({ faults: { logFloodBytes: 64 * 1024 * 1024, logFloodOneLine } });
      assert.ok((await doubled.provider.generate('Hello', { maxTokens: 8 })).text.length > 0);
    }
  });

  it(
    'ends the engine when llamero is killed with SIGKILL',
    { ...DEADLINE, skip: process.platform === 'win32' && 'signals of POSIX' },
    async () => {
      const { child, enginePid } = await startProviderProcess();
      child.kill('SIGKILL');
      await once(child, 'exit');
      await untilAsync(async () => !(await isAlive(enginePid)), 5000);
    },
  );

  it(
    'finds and ends a leftover of an earlier run, by pid and start time',
    { ...DEADLINE, skip: process.platform !== 'linux' && 'the guard is stopped through /proc' },
    async () => {
      const { child, enginePid } = await startProviderProcess();
      // Without its guard, as after a kill of the whole session.
      for (const pid of await childrenNamed(child.pid ?? 0, 'llamero-guard')) process.kill(pid, 'SIGKILL');
      child.kill('SIGKILL');
      await once(child, 'exit');
      assert.equal(await isAlive(enginePid), true, 'the orphan must live for this test to mean anything');
      await using provider = realProvider(model);
      await provider.start();
      await untilAsync(async () => !(await isAlive(enginePid)), 5000);
    },
  );

  it('leaves no process, socket, file, timer or listener after 20 cycles', { timeout: 60_000 }, async () => {
    await cycle();
    const baseline = {
      descriptors: await openDescriptors(),
      resources: process.getActiveResourcesInfo().toSorted(),
      listeners: listenersOfProcess(),
    };
    const pids: number[] = [];
    for (let count = 0; count < 20; count++) pids.push(await cycle());
    for (const pid of pids) assert.equal(await isAlive(pid), false);
    assert.deepEqual(
      {
        descriptors: await openDescriptors(),
        resources: process.getActiveResourcesInfo().toSorted(),
        listeners: listenersOfProcess(),
      },
      baseline,
    );
  });
});

describe('Concurrent Request Handling', () => {
  it('answers many at once, each with its own answer', DEADLINE, async () => {
    await using provider = realProvider(model);
    const prompts = Array.from({ length: 12 }, (_, index) => `Prompt number ${index}`);
    const alone = await Promise.all(prompts.map((prompt) => provider.tokenize(prompt)));
    const answers = await Promise.all(
      prompts.map((prompt) => provider.generate(prompt, { maxTokens: 16, temperature: 0 })),
    );
    for (const [index, answer] of answers.entries()) {
      assert.equal(answer.usage.completionTokens, 16);
      assert.ok(Math.abs(answer.usage.promptTokens - (alone[index]?.length ?? 0)) <= 1, 'only its own prompt was read');
    }
  });

  it('counts requests in flight', DEADLINE, async () => {
    await using provider = realProvider(slowModel);
    const streams = [provider.stream('a', { maxTokens: 200 }), provider.stream('b', { maxTokens: 200 })];
    await Promise.all(streams.map((stream) => stream.next()));
    assert.equal(provider.getModelInfo().processCount, 2);
    for (const stream of streams) await stream.return?.();
    assert.equal(provider.getModelInfo().processCount, 0);
  });

  it('never has more at the engine than slots; the rest waits', DEADLINE, async () => {
    await using provider = realProvider(slowModel, { engine: { parallel: 2 } });
    await provider.start();
    const running = Array.from({ length: 6 }, () => provider.generate('x', { maxTokens: 8 }));
    assert.deepEqual([provider.status().inFlight, provider.status().queued], [6, 4]);
    await Promise.all(running);
    assert.deepEqual([provider.status().inFlight, provider.status().queued], [0, 0]);
  });

  it('refuses what the queue cannot hold, and serves the others', DEADLINE, async () => {
    await using provider = realProvider(slowModel, { engine: { parallel: 1 }, maxQueue: 2 });
    await provider.start();
    const results = await Promise.allSettled(Array.from({ length: 5 }, () => provider.generate('x', { maxTokens: 8 })));
    const codes = results.map((result) =>
      result.status === 'fulfilled' ? 'ok' : (result.reason as LlameroError).code,
    );
    assert.deepEqual(codes, ['ok', 'ok', 'ok', 'queue_full', 'queue_full']);
  });

  it('keeps success and failure apart', DEADLINE, async () => {
    await using provider = realProvider(model);
    const controller = new AbortController();
    const client = { userId: 'limited', limits: { requestsPerMinute: 1 } };
    const mixed = [
      provider.generate('fine', { maxTokens: 4 }),
      provider.generate('bad', { maxTokens: 4, grammar: 'root ::= (((' }),
      provider.generate('long', { maxTokens: 1900, signal: controller.signal }),
      provider.generate('x '.repeat(4000), { maxTokens: 4 }),
      provider.generate('limited', { maxTokens: 4, client }),
      provider.generate('limited again', { maxTokens: 4, client }),
      provider.generate('late', { maxTokens: 1900, timeout: 1 }),
      provider.generate('fine too', { maxTokens: 4 }),
    ];
    controller.abort();
    const results = await Promise.allSettled(mixed);
    const codes = results.map((result) =>
      result.status === 'fulfilled' ? 'ok' : (result.reason as LlameroError).code,
    );
    assert.deepEqual(codes, [
      'ok',
      'invalid_request',
      'cancelled',
      'context_length_exceeded',
      'ok',
      'rate_limit_exceeded',
      'deadline_exceeded',
      'ok',
    ]);
    assert.equal(provider.getModelInfo().processCount, 0);
  });

  it(
    'frees the slot within 100 ms of a cancelled signal',
    { ...DEADLINE, skip: !unix && 'asks the engine through its socket' },
    async () => {
      await using provider = realProvider(slowModel);
      const started = nextEvent(provider, 'engine-start');
      await provider.start();
      const socketPath = socketOf((await started).args);
      for (const streaming of [true, false]) {
        const tookMs: number[] = [];
        for (let measurement = 0; measurement < 5; measurement++) {
          const controller = new AbortController();
          const options = { maxTokens: 1000, signal: controller.signal };
          const running = streaming ? provider.stream('Hello', options).next() : provider.generate('Hello', options);
          const ended = running.then(
            () => undefined,
            (error: unknown) => assert.equal((error as LlameroError).code, 'cancelled'),
          );
          await untilAsync(async () => (await busySlots(socketPath)) === 1, 5000);
          controller.abort();
          tookMs.push(await untilAsync(async () => (await busySlots(socketPath)) === 0, 5000));
          await ended;
        }
        // The best of five: whatever else the machine does can only add to it.
        assert.ok(
          Math.min(...tookMs) <= 100,
          `${streaming ? 'stream' : 'answer'}: ${tookMs.map(Math.round).join(', ')} ms`,
        );
      }
    },
  );

  it(
    'does not give away the slot of a cancelled whole answer while the engine still works on it',
    { ...DEADLINE, skip: !unix && 'asks the engine through its socket' },
    async () => {
      // Some seconds for the answer, as few as serve: all else is the slower for it where cores are busy.
      const steady = await tinyModel(directory.path, { ballastBytes: 60_000_000 });
      await using provider = realProvider(steady, { engine: { parallel: 1 } });
      const started = nextEvent(provider, 'engine-start');
      await provider.start();
      const socketPath = socketOf((await started).args);
      const { exchange, outcome } = askWhole(provider, { prompt: 'Hello', n_predict: 1500 });
      await untilAsync(async () => (await busySlots(socketPath)) === 1, DEADLINE.timeout);
      exchange.cancel();
      assert.equal(await outcome, 'cancelled');
      const next = provider.generate('Hello', { maxTokens: 2 });
      assert.equal(provider.status().queued, 1, 'the next one waits at llamero, not unseen in the engine');
      await next;
      assert.deepEqual([provider.status().queued, provider.getModelInfo().processCount], [0, 0]);
    },
  );
});

describe('Error Recovery', () => {
  it('sends a request again that met a crash before its first byte', DEADLINE, async () => {
    await using doubled = await doubledProvider({
      faults: { firstStarts: 1, after: { tokens: 0, fault: 'end-process', signal: 'SIGSEGV' } },
    });
    const exits = record(doubled.provider, 'engine-exit');
    assert.equal(await askWhole(doubled.provider, { prompt: 'Hello' }).outcome, 'answered');
    assert.deepEqual(
      exits.map((exit) => exit.cause),
      ['segmentation_fault'],
    );
  });

  it('asks again for a whole answer that broke in the middle', DEADLINE, async () => {
    await using doubled = await doubledProvider({
      faults: { firstStarts: 1, after: { tokens: 3, fault: 'end-process', signal: 'SIGKILL' } },
    });
    assert.equal((await doubled.provider.generate('Hello', { maxTokens: 8 })).usage.completionTokens, 8);
  });

  it('goes on with a stream when the engine dies in the middle', DEADLINE, async () => {
    await using provider = realProvider(slowModel);
    const continued = nextEvent(provider, 'stream-continued');
    const options = { maxTokens: 30, temperature: 0, continuation: 'exact' } as const;
    const expected = await provider.generate('Hello', options);
    const stream = provider.stream('Hello', options);
    let text = (await stream.next()).value?.text ?? '';
    process.kill(provider.status().pid ?? 0, 'SIGSEGV');
    const finishes: string[] = [];
    for await (const part of stream) {
      text += part.text;
      if (part.finishReason !== null) finishes.push(part.finishReason);
      if (part.finishReason !== null) assert.equal(part.usage?.completionTokens, 30);
    }
    assert.equal(text, expected.text);
    assert.deepEqual(finishes, ['length']);
    assert.deepEqual([(await continued).way, (await continued).cause], ['ids', 'segmentation_fault']);
  });

  it('ends a stream with an error when the engine dies in the middle and it may not go on', DEADLINE, async () => {
    await using provider = realProvider(slowModel);
    const stream = provider.stream('Hello', { maxTokens: 1000, continuation: 'off' });
    await stream.next();
    process.kill(provider.status().pid ?? 0, 'SIGSEGV');
    await assert.rejects(
      async () => {
        for await (const part of stream) assert.equal(part.finishReason, null);
      },
      { code: 'stream_interrupted', message: /segmentation fault/ },
    );
    assert.ok((await provider.generate('Hello', { maxTokens: 2 })).text.length > 0);
  });

  const corrupted = [
    ['a JSON answer that is cut', { malformedJson: true }, false, 'engine_bad_response'],
    ['a stream cut inside a frame', { after: { tokens: 3, fault: 'cut-frame' } }, true, 'stream_interrupted'],
    ['a stream cut inside a character', { after: { tokens: 3, fault: 'cut-character' } }, true, 'stream_interrupted'],
    ['a stream without its end', { after: { tokens: 3, fault: 'end' } }, true, 'stream_interrupted'],
    ['a stream whose connection breaks', { after: { tokens: 3, fault: 'destroy' } }, true, 'stream_interrupted'],
    ['a frame that is not JSON', { after: { tokens: 3, fault: 'malformed-frame' } }, true, 'engine_bad_response'],
    [
      'garbage instead of frames',
      { after: { tokens: 3, fault: 'garbage' } },
      true,
      /^(engine_bad_response|stream_interrupted)$/,
    ],
  ] as const;
  for (const [name, faults, streaming, expected] of corrupted) {
    it(`reports ${name}`, DEADLINE, async () => {
      await using doubled = await doubledProvider({ faults });
      const failure = streaming
        ? async () => {
            for await (const part of doubled.provider.stream('Hello', { maxTokens: 16, continuation: 'off' }))
              assert.equal(part.finishReason, null);
          }
        : async () => {
            const outcome = await askWhole(doubled.provider, { prompt: 'Hello' }).outcome;
            throw new LlameroError(outcome as 'engine_bad_response', 'as a sink got it');
          };
      await assert.rejects(failure, { code: expected });
      assert.equal(doubled.provider.getModelInfo().processCount, 0);
    });
  }

  it('gets over a server that is away for a while', DEADLINE, async () => {
    const first = await startFakeLlamaServer({});
    const url = new URL(first.url);
    await using provider = LlamaCppProvider.connect(first.url);
    assert.ok((await provider.generate('Hello', { maxTokens: 2 })).text.length > 0);
    await first.stop();
    const pending = provider.generate('Hello', { maxTokens: 2 });
    await nextEvent(provider, 'engine-exit');
    await using _second = await startFakeLlamaServer({ port: Number(url.port) });
    assert.ok((await pending).text.length > 0);
  });

  it('waits for a model that an attached server still loads', DEADLINE, async () => {
    await using server = await startFakeLlamaServer({ faults: { loadMs: 500 }, waitFor: 'listening' });
    await using provider = LlamaCppProvider.connect(server.url);
    assert.ok((await provider.generate('Hello', { maxTokens: 2 })).text.length > 0);
  });

  it('gives up an attached server that is not there, within the deadline, with the cause', DEADLINE, async () => {
    const gone = await startFakeLlamaServer({});
    await gone.stop();
    await using provider = LlamaCppProvider.connect(gone.url, { timeouts: { queue: 300 } });
    await assert.rejects(provider.generate('Hello'), { code: 'engine_starting', message: /does not answer/ });
  });

  it('survives restarts of the engine during operation', DEADLINE, async () => {
    await using provider = realProvider(model, { engine: { restart: { maxRestarts: 100, delay: 1, maxDelay: 5 } } });
    await provider.start();
    let answered = 0;
    const clients = Array.from({ length: 4 }, async () => {
      for (let count = 0; count < 10; count++) {
        await provider.generate('Hello', { maxTokens: 8 }).then(
          () => (answered += 1),
          (error: unknown) => assert.equal((error as LlameroError).retryable, true),
        );
      }
    });
    for (let kills = 0; kills < 3; kills++) {
      const ready = nextEvent(provider, 'engine-ready');
      process.kill(provider.status().pid ?? 0, 'SIGKILL');
      await ready;
    }
    await Promise.all(clients);
    assert.ok(answered >= 30, `${answered} of 40 answered`);
    assert.equal(provider.getModelInfo().processCount, 0);
  });
});

describe('The surface', () => {
  it('names the option that is wrong', async () => {
    await using provider = realProvider(model);
    const wrong: [run: () => unknown, param: string][] = [
      [() => provider.stream('x', { maxTokens: 0 }), 'maxTokens'],
      [() => provider.stream('x', { temprature: 1 } as object), 'temprature'],
      [() => provider.stream('x', { topP: 2 }), 'topP'],
      [() => provider.stream(5 as unknown as string), 'prompt'],
      [() => provider.chatStream([] as never), 'messages'],
      [() => new LlamaCppProvider({ model, engine: { parallel: -1 } }), 'engine.parallel'],
      [() => new LlamaCppProvider({}), 'model'],
    ];
    for (const [run, param] of wrong) {
      assert.throws(
        run,
        (error) => error instanceof LlameroError && error.code === 'invalid_options' && error.param === param,
        param,
      );
    }
  });

  it('does all that it promises', DEADLINE, async () => {
    await using provider = realProvider(model);
    const requests = record(provider, 'request');
    const responses = record(provider, 'response');
    const { text, usage, timings, finishReason } = await provider.generate('Hello', { maxTokens: 6, temperature: 0 });
    assert.deepEqual([finishReason, usage.completionTokens, timings?.completionTokens], ['length', 6, 6]);
    let streamed = '';
    for await (const part of provider.stream('Hello', { maxTokens: 6, temperature: 0 })) {
      streamed += part.text;
      if (part.finishReason !== null) assert.equal(part.usage?.completionTokens, 6);
    }
    assert.equal(streamed, text, 'greedy decoding gives the same text streamed and whole');
    const chat = await provider.chat([{ role: 'user', content: 'Hi' }], { maxTokens: 4 });
    assert.equal(chat.message['role'], 'assistant');
    const { embeddings } = await provider.embed(['one', 'two']);
    assert.equal(embeddings.length, 2);
    const odd = 'naïve 🦙 \u0000 text';
    assert.equal(await provider.detokenize(await provider.tokenize(odd)), odd);
    assert.equal(requests.length, responses.length);
  });

  it('ranks documents with a reranking engine', DEADLINE, async () => {
    await using provider = realProvider(model, { engine: { args: ['--reranking'] } });
    const ranking = await provider.rerank('query', ['first', 'second', 'third'], { topN: 2 });
    assert.equal(ranking.length, 2);
    assert.ok((ranking[0]?.score ?? 0) >= (ranking[1]?.score ?? 0));
  });

  it('sends nothing for a stream that nobody reads, and can be left before the first read', DEADLINE, async () => {
    await using provider = realProvider(model);
    const requests = record(provider, 'request');
    const stream = provider.stream('Hello');
    await stream.return?.();
    assert.deepEqual(await stream.next(), { done: true, value: undefined });
    assert.equal(requests.length, 0);
  });

  it('refuses calls after cleanup, and cleans up only once', DEADLINE, async () => {
    const provider = realProvider(model);
    await provider.start();
    assert.equal(provider.cleanup(), provider.stop());
    await provider.cleanup();
    await assert.rejects(provider.generate('Hello'), { code: 'engine_unavailable' });
    await assert.rejects(provider.start(), { code: 'engine_unavailable' });
  });
});

/** A llamero in a process of its own, with a running engine. */
async function startProviderProcess(): Promise<{
  child: ChildProcess;
  enginePid: number;
}> {
  const program = `
    import { LlamaCppProvider } from ${JSON.stringify(new URL('../llama-cpp-provider.ts', import.meta.url).href)};
    const provider = new LlamaCppProvider({ model: process.argv[1], engine: { ctxSize: 512, parallel: 1, args: ['--threads', '1'] } });
    await provider.start();
    console.log(provider.status().pid);
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program, '--', model], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
  return { child, enginePid: Number(line.trim()) };
}

/** Pids of the children of a process whose command line holds that word. */
async function childrenNamed(parent: number, word: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const [command, status] = await Promise.all([
      readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => ''),
      readFile(`/proc/${name}/status`, 'utf8').catch(() => ''),
    ]);
    if (command.includes(word) && new RegExp(`^PPid:\\t${parent}$`, 'm').test(status)) found.push(Number(name));
  }
  return found;
}

function listenersOfProcess(): Record<string, number> {
  return Object.fromEntries(process.eventNames().map((name) => [String(name), process.listenerCount(name)]));
}

/** A whole answer as the gateway asks for it. `outcome` is `answered` or the code of the error. */
function askWhole(provider: LlamaCppProvider, body: object): { exchange: Exchange; outcome: Promise<string> } {
  const { promise: outcome, resolve } = Promise.withResolvers<string>();
  const bytes = Buffer.from(JSON.stringify(body));
  const route = engineRoute('POST /completion');
  const exchange = provider.exchange(
    {
      id: 'whole',
      route,
      query: '',
      client: ANONYMOUS,
      body: bytes,
      work: workOf(route, body as Record<string, unknown>, bytes.length),
      continuation: null,
      stream: false,
      timeoutMs: null,
    },
    {
      onHead: () => undefined,
      onData: () => true,
      onEnd: () => resolve('answered'),
      onError: ({ code }) => resolve(code),
    },
  );
  return { exchange, outcome };
}

/** One life of a provider. @returns the pid of its engine. */
async function cycle(): Promise<number> {
  await using provider = realProvider(model);
  await provider.generate('Hello', { maxTokens: 2 });
  return provider.status().pid ?? 0;
}
