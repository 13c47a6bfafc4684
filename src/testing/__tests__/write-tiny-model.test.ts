import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gguf } from '@huggingface/gguf';
import { LlameroError } from '../../core/errors.ts';
import { writeTinyModel, type TinyModelOptions } from '../index.ts';
import { temporaryDirectory } from './servers.ts';

async function written(
  options?: TinyModelOptions,
): Promise<{ bytes: Buffer; facts: Awaited<ReturnType<typeof writeTinyModel>> }> {
  await using directory = await temporaryDirectory();
  const facts = await writeTinyModel(join(directory.path, 'model.gguf'), options);
  return { bytes: await readFile(facts.path), facts };
}

function tokensOf(metadata: object): string[] {
  return (metadata as Record<string, string[]>)['tokenizer.ggml.tokens'] ?? [];
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

describe('writeTinyModel', () => {
  it('writes the same bytes for the same options, on every platform', async () => {
    const [first, second] = await Promise.all([written(), written({})]);
    assert.equal(digest(first.bytes), digest(second.bytes));
    assert.equal(digest(first.bytes), '3ab27a6b7795f18eaa909e59bdb2468cf2d6b2610569193f8b6732639556a1ba');
    assert.notEqual(digest(first.bytes), digest((await written({ seed: 2 })).bytes));
  });

  it('stays under 1 MB and reports what it wrote', async () => {
    const { bytes, facts } = await written();
    assert.ok(bytes.length < 1_000_000);
    assert.equal(facts.fileBytes, bytes.length);
    assert.deepEqual(
      { layers: facts.layers, embedding: facts.embedding, context: facts.context, vocabulary: facts.vocabulary },
      { layers: 2, embedding: 64, context: 8192, vocabulary: 448 },
    );
  });

  it('writes what an independent reader understands', async () => {
    await using directory = await temporaryDirectory();
    const options = {
      layers: 3,
      embedding: 96,
      context: 4096,
      vocabulary: 1000,
      name: 'other',
      pooling: 'last',
    } as const;
    const facts = await writeTinyModel(join(directory.path, 'model.gguf'), options);
    const { metadata, tensorInfos } = await gguf(facts.path, { allowLocalFile: true });
    assert.equal(metadata.version, 3);
    assert.equal(metadata['general.architecture'], 'llama');
    assert.equal(metadata['general.name'], 'other');
    assert.equal(metadata['llama.block_count'], 3);
    assert.equal(metadata['llama.embedding_length'], 96);
    assert.equal(metadata['llama.context_length'], 4096);
    assert.equal((metadata as Record<string, unknown>)['llama.pooling_type'], 3);
    assert.equal(tokensOf(metadata).length, 1000);
    assert.equal(tensorInfos.length, 3 + 3 * 9);
    const count = tensorInfos.reduce(
      (sum, { shape }) => sum + shape.reduce((product, length) => product * Number(length), 1),
      0,
    );
    assert.equal(count, facts.parameters);
  });

  it('has every byte and no token twice in vocabularies of all sizes', async () => {
    for (const vocabulary of [448, 449, 5000, 40_000]) {
      await using directory = await temporaryDirectory();
      const facts = await writeTinyModel(join(directory.path, 'model.gguf'), { vocabulary });
      const { metadata } = await gguf(facts.path, { allowLocalFile: true });
      const tokens = tokensOf(metadata);
      assert.equal(new Set(tokens).size, vocabulary);
      assert.ok(tokens.slice(0, 256).every((token) => token.length === 1));
    }
  });

  it('writes the ballast of the slow preset without the time it would take', { timeout: 20_000 }, async () => {
    await using directory = await temporaryDirectory();
    const facts = await writeTinyModel(join(directory.path, 'slow.gguf'), { preset: 'slow' });
    assert.equal((await stat(facts.path)).size, facts.fileBytes);
    assert.ok(facts.fileBytes > 300_000_000);
  });

  it('names the option that is wrong', async () => {
    const wrong: Array<[keyof TinyModelOptions, TinyModelOptions]> = [
      ['layers', { layers: 0 }],
      ['embedding', { embedding: 65 }],
      ['embedding', { embedding: 32 }],
      ['context', { context: 1.5 }],
      ['vocabulary', { vocabulary: 447 }],
      ['seed', { seed: -1 }],
      ['ballastBytes', { ballastBytes: Number.NaN }],
    ];
    for (const [param, options] of wrong) {
      await assert.rejects(writeTinyModel('/nowhere/model.gguf', options), {
        name: 'LlameroError',
        code: 'invalid_options',
        param,
      });
    }
  });

  it('leaves nothing behind when it is cancelled or fails', async () => {
    await using directory = await temporaryDirectory();
    const path = join(directory.path, 'model.gguf');
    await assert.rejects(
      writeTinyModel(path, { signal: AbortSignal.abort() }),
      (error) => error instanceof LlameroError && error.code === 'cancelled',
    );
    assert.deepEqual(await readdir(directory.path), []);
    await assert.rejects(writeTinyModel(join(directory.path, 'missing', 'model.gguf')), { code: 'ENOENT' });
    assert.deepEqual(await readdir(directory.path), []);
  });
});
