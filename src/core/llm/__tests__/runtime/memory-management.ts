import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { collectGarbage } from '../../../admission/collect-garbage.ts';
import type { LlameroError } from '../../../errors.ts';
import type { LlamaCppProvider } from '../../llama-cpp-provider.ts';
import { isAlive, nextEvent, realProvider, record, temporaryDirectory, tinyModel, untilAsync } from '../fixtures.ts';

const DEADLINE = { timeout: 30_000 };
const MEGABYTE = 1024 * 1024;
const NOTHING_HELD = { processCount: 0, queued: 0, slotsInUse: 0 };

/** What requests hold at the moment. */
function held(provider: LlamaCppProvider) {
  const { queued, slotsInUse } = provider.status();
  return { processCount: provider.getModelInfo().processCount, queued, slotsInUse };
}

async function codeOf(request: Promise<unknown>): Promise<string> {
  return request.then(
    () => 'ok',
    (error: unknown) => (error as LlameroError).code,
  );
}

describe('Memory Management', () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let model = '';
  let slowModel = '';
  before(async () => {
    directory = await temporaryDirectory();
    model = await tinyModel(directory.path);
    slowModel = await tinyModel(directory.path, { preset: 'slow' });
  });
  after(() => directory[Symbol.asyncDispose]());

  it('tracks requests in flight, those that wait included', DEADLINE, async () => {
    await using provider = realProvider(slowModel, { engine: { parallel: 2 } });
    await provider.start();
    const running = Array.from({ length: 5 }, () => provider.generate('x', { maxTokens: 4 }));
    assert.deepEqual(held(provider), { processCount: 5, queued: 3, slotsInUse: 2 });
    await Promise.all(running);
    assert.deepEqual(held(provider), NOTHING_HELD);
  });

  it('releases everything, whatever a request ends with', DEADLINE, async () => {
    await using provider = realProvider(slowModel, { engine: { parallel: 1 }, maxQueue: 1 });
    await provider.start();
    const fine = () => provider.generate('Hello', { maxTokens: 2 });
    const leaving = () => {
      const stream = provider.stream('Hello', { maxTokens: 1000 });
      return stream.next().then(() => stream.return?.());
    };
    const killing = async (continuation: 'fast' | 'off') => {
      const stream = provider.stream('Hello', { maxTokens: 40, continuation });
      await stream.next();
      process.kill(provider.status().pid ?? 0, 'SIGKILL');
      for await (const part of stream) assert.equal(part.finishReason, part.finishReason && 'length');
    };
    const endings: [run: () => Promise<unknown>, code: string][] = [
      [() => provider.generate('x', { grammar: 'root ::= (((' }), 'invalid_request'],
      [() => provider.generate('x '.repeat(4000)), 'context_length_exceeded'],
      [() => provider.generate('x', { maxTokens: 1000, timeout: 50 }), 'deadline_exceeded'],
      [() => provider.generate('x', { maxTokens: 1000, signal: AbortSignal.abort() }), 'cancelled'],
      [() => provider.generate('x', { maxTokens: 1000, signal: AbortSignal.timeout(50) }), 'cancelled'],
      [leaving, 'ok'],
      [() => killing('off'), 'stream_interrupted'],
      [() => killing('fast'), 'ok'],
      [() => Promise.all([fine(), fine(), fine()]), 'queue_full'],
    ];
    for (const [run, code] of endings) {
      assert.equal(await codeOf(run()), code);
      await provider.idle();
      // The slot of a cancelled request is kept until the engine shows it idle.
      await untilAsync(
        async () => (await provider.tokenize('x')).length > 0 && provider.status().slotsInUse === 0,
        5000,
      );
      assert.deepEqual(held(provider), NOTHING_HELD, code);
    }
    assert.equal(await codeOf(fine()), 'ok');
  });

  it('refuses new requests under memory pressure, finishes running ones, and recovers', DEADLINE, async () => {
    // Requests are refused from nine tenths on; until then there is room for what starting takes.
    const memoryLimit = Math.ceil((process.memoryUsage.rss() / MEGABYTE + 100) / 0.9);
    await using provider = realProvider(slowModel, { memoryLimit });
    const running = provider.stream('Hello', { maxTokens: 60 });
    await running.next();
    const pressed = nextEvent(provider, 'memory');
    let ballast: Buffer | null = Buffer.alloc(240 * MEGABYTE, 1);
    assert.deepEqual([(await pressed).of, (await pressed).ok], ['llamero', false]);
    await assert.rejects(provider.generate('Hello'), { code: 'memory_pressure', retryable: true, retryAfterMs: 5000 });
    let finishReason = null;
    for await (const part of running) ({ finishReason } = part);
    assert.equal(finishReason, 'length');
    const recovered = nextEvent(provider, 'memory', ({ ok }) => ok);
    assert.equal(ballast.length, 240 * MEGABYTE);
    ballast = null;
    collectGarbage();
    await recovered;
    assert.equal(await codeOf(provider.generate('Hello', { maxTokens: 2 })), 'ok');
  });

  it('cleans up when a provider is destroyed in the middle of everything', DEADLINE, async () => {
    const provider = realProvider(slowModel, { engine: { parallel: 1 }, rateLimit: { maxConcurrent: 5 } });
    const errors = record(provider, 'error');
    const running = provider.stream('Hello', { maxTokens: 1000 });
    await running.next();
    const waiting = [1, 2, 3].map(() => codeOf(provider.generate('Hello', { maxTokens: 2 })));
    await untilAsync(async () => (await provider.tokenize('x')).length > 0 && provider.status().queued === 3, 5000);
    const { pid } = provider.status();
    await provider.cleanup();
    assert.deepEqual(await Promise.all(waiting), Array(3).fill('engine_unavailable'));
    await assert.rejects(
      async () => {
        for await (const part of running) assert.equal(part.finishReason, null);
      },
      { code: 'engine_unavailable' },
    );
    assert.equal(errors.length, 4);
    assert.deepEqual(held(provider), NOTHING_HELD);
    assert.equal(await isAlive(pid ?? 0), false);
    assert.deepEqual(provider.events.eventNames(), []);
  });

  it('holds nothing of requests that are over', DEADLINE, async () => {
    await using provider = realProvider(model);
    const references: WeakRef<AbortController>[] = [];
    for (let count = 0; count < 20; count += 1) {
      const controller = new AbortController();
      references.push(new WeakRef(controller));
      const stream = provider.stream('Hello', { maxTokens: 3, signal: controller.signal });
      for await (const part of stream) assert.equal(typeof part.text, 'string');
    }
    await new Promise(setImmediate);
    collectGarbage();
    const left = references.filter((reference) => reference.deref() !== undefined).length;
    assert.ok(left <= 1, `${left} of 20 signals are still held`);
  });
});
