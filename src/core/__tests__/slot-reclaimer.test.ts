import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { it } from 'node:test';
import { writeTinyModel } from '../../testing/index.ts';
import { LlamaCppProvider } from '../llm/llama-cpp-provider.ts';

const IDLE_MS = 1000;
/** Finding the hang takes `timeouts.idle` and a second, starting another engine less than one. */
const SERVED_MS = IDLE_MS + 1000 + 2000;
const LINUX = {
  timeout: 60_000,
  skip: process.platform !== 'linux' && 'the state of a process is read in /proc',
};

it('an engine that freezes while its only slot is held for a client that has gone is replaced', LINUX, async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'llamero-reclaimer-'));
  const model = path.join(folder, 'tiny.gguf');
  await writeTinyModel(model, { ballastBytes: 24_000_000 });
  const provider = new LlamaCppProvider({
    model,
    engine: { parallel: 1, ctxSize: 2048, args: ['--threads', '1'] },
    timeouts: { idle: IDLE_MS, queue: 20_000 },
  });
  try {
    const client = new AbortController();
    const stream = provider.stream('Hello', { maxTokens: 1500, signal: client.signal });
    for await (const part of stream) {
      assert.equal(part.finishReason, null);
      break;
    }
    const { pid } = provider.status();
    assert.ok(pid !== null);
    process.kill(pid, 'SIGSTOP');
    client.abort();
    const askedAt = performance.now();
    const { usage } = await provider.generate('Hello', { maxTokens: 2 });
    assert.equal(usage?.completionTokens, 2);
    const tookMs = performance.now() - askedAt;
    assert.ok(tookMs < SERVED_MS, `served after ${tookMs} ms`);
    assert.equal(provider.status().slotsInUse, 0);
  } finally {
    await provider.stop();
    await rm(folder, { recursive: true, force: true });
  }
});
