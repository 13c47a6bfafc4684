import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StreamPacer } from '../stream-pacer.ts';

describe('the pacer of streams', { timeout: 10_000 }, () => {
  it('wakes all that wait, once, and later', async () => {
    const log: string[] = [];
    const pacer = new StreamPacer();
    const woken = ['a', 'b'].map((name) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      pacer.wait({
        flush: () => {
          log.push(name);
          resolve();
        },
      });
      return promise;
    });
    assert.deepEqual(log, []);
    await Promise.all(woken);
    assert.deepEqual(log, ['a', 'b']);
    const again = Promise.withResolvers<void>();
    pacer.wait({ flush: again.resolve });
    await again.promise;
    assert.deepEqual(log, ['a', 'b']);
  });
});
