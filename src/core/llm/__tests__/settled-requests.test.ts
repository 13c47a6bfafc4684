import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { SettledRequest } from '../../events.ts';
import type { LlamaCppProvider } from '../llama-cpp-provider.ts';
import { nextEvent, realProvider, temporaryDirectory, tinyModel } from './fixtures.ts';

/** What is announced of every request when it ends, on the real llama-server. */
describe('a settled request', { timeout: 60_000 }, () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let provider: LlamaCppProvider;

  before(async () => {
    directory = await temporaryDirectory();
    provider = realProvider(await tinyModel(directory.path), { engine: { parallel: 1 } });
    await provider.start();
  });

  after(async () => {
    await provider.cleanup();
    await directory[Symbol.asyncDispose]();
  });

  it('tells the phases of a stream, which add up', async () => {
    const settled = nextEvent(provider, 'settled');
    for await (const part of provider.stream('Hello', { maxTokens: 8 })) assert.ok(part);
    const request = await settled;
    const { queueMs, prefillMs, firstTokenMs, decodeMs, totalMs, ownMs } = request;
    assert.ok(prefillMs !== null && firstTokenMs !== null && decodeMs !== null);
    assert.ok(Math.abs(queueMs + prefillMs - firstTokenMs) < 0.001, 'queue and prefill make the time to first token');
    assert.ok(Math.abs(firstTokenMs + decodeMs - totalMs) < 0.001, 'and with decode the whole');
    assert.ok(ownMs > 0 && ownMs <= queueMs);
    assert.equal(request.usage?.completionTokens, 8);
    assert.deepEqual(
      { ...outcomeOf(request), tokens: request.generatedTokens, isNamed: (request.model ?? '') !== '' },
      { outcome: 'completed', status: 200, code: null, headSent: true, tokens: 8, isNamed: true },
    );
  });

  it('counts as waiting what it waited for a slot, not as its own', async () => {
    const both: SettledRequest[] = [];
    const listener = (request: SettledRequest) => both.push(request);
    provider.on('settled', listener);
    const ask = async () => provider.generate('Hello', { maxTokens: 40 });
    await Promise.all([ask(), ask()]);
    provider.off('settled', listener);
    const [first, second] = both;
    assert.ok(first !== undefined && second !== undefined);
    const waitedMs = second.queueMs - second.ownMs;
    // It entered a little later than the one that it waited for.
    assert.ok(waitedMs > (first.totalMs - first.queueMs) / 2, `waited ${waitedMs} ms for ${first.totalMs}`);
    assert.ok(second.ownMs < waitedMs);
  });

  it('tells a cancelled one from a failed one', async () => {
    const controller = new AbortController();
    const cancelled = nextEvent(provider, 'settled');
    const stream = provider.stream('Hello', { maxTokens: 500, signal: controller.signal });
    await assert.rejects(async () => {
      for await (const part of stream) {
        assert.ok(part);
        controller.abort();
      }
    });
    const { outcome, code, headSent } = outcomeOf(await cancelled);
    assert.deepEqual({ outcome, code, headSent }, { outcome: 'cancelled', code: 'cancelled', headSent: true });

    const failed = nextEvent(provider, 'settled');
    await assert.rejects(provider.generate('word '.repeat(6000), { maxTokens: 4 }));
    assert.deepEqual(outcomeOf(await failed), {
      outcome: 'failed',
      status: 400,
      code: 'context_length_exceeded',
      headSent: false,
    });
  });
});

function outcomeOf({ outcome, status, error, headSent }: SettledRequest) {
  return { outcome, status, code: error?.code ?? null, headSent };
}
