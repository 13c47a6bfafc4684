import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { writeTinyModel } from '../../../../testing/write-tiny-model.ts';
import type { TinyModelFacts } from '../../../../testing/write-tiny-model.ts';
import { LlameroError } from '../../../errors.ts';
import { estimateMemory, kvCacheBytesPerToken } from '../estimate-memory.ts';
import type { GgufFacts } from '../gguf-facts.ts';
import { scanGguf } from '../gguf-scan.ts';
import { inspectModel } from '../inspect-model.ts';
import { memoryFit } from '../machine-memory.ts';
import { readGgufFacts } from '../read-gguf.ts';
import { startFileMirror } from '../../download/__tests__/file-mirror.ts';
import { startHubMirror } from './hub-mirror.ts';

const TIMEOUT = { timeout: 30_000 };
let directory: string;
let written: TinyModelFacts;
let bytes: Buffer;
let facts: GgufFacts;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'llamero-facts-'));
  written = await writeTinyModel(join(directory, 'tiny.gguf'), { layers: 3, context: 2048 });
  bytes = await readFile(written.path);
  facts = await readGgufFacts(written.path);
});
after(async () => {
  await rm(directory, { recursive: true });
});

describe('readGgufFacts', () => {
  it('reads what was written', () => {
    assert.equal(facts.architecture, 'llama');
    assert.equal(facts.name, written.name);
    assert.equal(facts.parameters, written.parameters);
    assert.equal(facts.quantisation, 'F32');
    assert.equal(facts.layers, 3);
    assert.equal(facts.heads, written.heads);
    assert.deepEqual(facts.kvHeads?.length, 3);
    assert.equal(facts.embeddingLength, written.embedding);
    assert.equal(facts.contextLength, 2048);
    assert.equal(facts.vocabulary, written.vocabulary);
    assert.equal(facts.chatTemplate, true);
    assert.equal(facts.fileBytes, written.fileBytes);
    assert.equal(facts.weightsBytes, written.parameters * 4);
  });

  it('refuses what only looks like a GGUF', TIMEOUT, async () => {
    const path = join(directory, 'odd.gguf');
    const odd = Buffer.from(bytes);
    // The type of the first metadata value, after its key.
    odd.writeUInt32LE(99, 24 + 8 + Number(odd.readBigUInt64LE(24)));
    await writeFile(path, odd);
    await assert.rejects(
      readGgufFacts(path),
      (error) => error instanceof LlameroError && error.code === 'invalid_options' && /damaged/.test(error.message),
    );
  });
});

describe('scanGguf', () => {
  it('agrees with the file, and asks for more at every cut of the header', () => {
    const whole = scanGguf(bytes);
    assert.equal(whole.kind, 'complete');
    assert.ok(whole.kind === 'complete' && whole.endOfData <= bytes.length && whole.tensors === facts.tensors);
    assert.equal(whole.architecture, 'llama');
    for (let length = 8; length < 8000; length += 97) {
      assert.equal(scanGguf(bytes.subarray(0, length)).kind, 'more', `${length} bytes`);
    }
  });

  it('never throws on damaged headers', () => {
    for (let at = 4; at < 4000; at += 13) {
      const damaged = Buffer.from(bytes.subarray(0, 200_000));
      damaged[at] = damaged[at]! ^ 0xff;
      assert.ok(['complete', 'more', 'damaged'].includes(scanGguf(damaged).kind));
    }
  });
});

describe('inspectModel', () => {
  it('reads only the header of a remote model', TIMEOUT, async () => {
    await using mirror = await startFileMirror({ '/tiny.gguf': { content: bytes } });
    const env = { LLAMERO_CACHE_DIR: join(directory, 'cache') };
    const inspected = await inspectModel({ reference: `${mirror.url}/tiny.gguf`, env });
    assert.deepEqual(inspected, { facts, location: `${mirror.url}/tiny.gguf`, local: false });
    assert.ok(mirror.requests.every((request) => request.range !== undefined));
  });

  it('reads a repository without downloading it', TIMEOUT, async () => {
    await using mirror = await startHubMirror('user/tiny', { 'tiny-Q4_K_M.gguf': bytes });
    const env = { HF_ENDPOINT: mirror.url, HF_HUB_CACHE: join(directory, 'hub') };
    const inspected = await inspectModel({ reference: 'user/tiny', env });
    assert.deepEqual(inspected.facts, facts);
    assert.equal(inspected.chosen, 'Q4_K_M');
    assert.equal(inspected.local, false);
  });

  it('does not read a whole file into memory', TIMEOUT, async () => {
    await using mirror = await startFileMirror({ '/tiny.gguf': { content: bytes, noRanges: true } });
    const env = { LLAMERO_CACHE_DIR: join(directory, 'cache') };
    const inspected = inspectModel({ reference: `${mirror.url}/tiny.gguf`, env });
    await assert.rejects(inspected, /sends no parts of files/);
  });
});

const llama8b = () => ({
  ...facts,
  layers: 32,
  kvHeads: Array.from({ length: 32 }, () => 8),
  keyLength: 128,
  valueLength: 128,
});

describe('estimateMemory', () => {
  it('computes the KV cache as llama.cpp allocates it', () => {
    // 2 × 32 layers × 8 heads × 128 × 2 bytes = 128 KiB a token.
    assert.equal(kvCacheBytesPerToken(llama8b(), 'f16'), 131_072);
    const estimate = estimateMemory(llama8b(), { parallel: 4, ctxSize: 4096 });
    assert.equal(estimate.kvCachePerSlotBytes, 512 * 1024 * 1024);
    assert.equal(estimate.kvCacheBytes, 4 * 512 * 1024 * 1024);
    assert.equal(estimate.totalBytes, estimate.weightsBytes + estimate.kvCacheBytes + estimate.computeBytes);
  });

  it('rounds the context of a slot up, and knows quantised caches', () => {
    const odd = estimateMemory(llama8b(), { parallel: 1, ctxSize: 1000 });
    assert.equal(odd.kvCacheBytes, 131_072 * 1024);
    assert.equal(kvCacheBytesPerToken(llama8b(), 'q8_0'), (65_536 * 34) / 32);
  });

  it('counts layers without attention and latent attention as they are', () => {
    const hybrid = { ...llama8b(), kvHeads: [8, 0, 0, 8] };
    assert.equal(kvCacheBytesPerToken(hybrid, 'f16'), 16 * 256 * 2);
    const latent = { ...llama8b(), kvHeads: [1, 1], keyLength: 576, valueLength: 512, latentAttention: true };
    assert.equal(kvCacheBytesPerToken(latent, 'f16'), 2 * 576 * 2);
  });

  it('says when it does not know', () => {
    const estimate = estimateMemory({ ...facts, kvHeads: null }, { parallel: 1, ctxSize: 512 });
    assert.equal(estimate.kvCacheBytes, null);
    assert.ok(estimate.totalBytes > facts.weightsBytes);
  });
});

describe('memoryFit', () => {
  for (const [need, available, limit, expected] of [
    [10, 50, null, 'fits'],
    [60, 50, null, 'tight'],
    [95, 99, null, 'too-large'],
    [10, 50, 10, 'too-large'],
    [10, 50, 20, 'fits'],
  ] as const) {
    it(`${need} of 100, ${available} available, limit ${limit}: ${expected}`, () => {
      assert.equal(memoryFit(need, { totalBytes: 100, availableBytes: available, limitBytes: limit }), expected);
    });
  }
});
