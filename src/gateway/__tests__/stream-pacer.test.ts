import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StreamPacer } from '../stream-pacer.ts';

/** A stream that notes what happens to it. */
function noting(log: string[], name: string): { rest(): void; goOn(): void; done: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return {
    rest: () => void log.push(`${name} rests`),
    goOn: () => {
      log.push(`${name} goes on`);
      resolve();
    },
    done: promise,
  };
}

describe('the pacer of streams', { timeout: 10_000 }, () => {
  it('lets a stream rest only when its read is over, and then go on', async () => {
    const log: string[] = [];
    const pacer = new StreamPacer();
    const stream = noting(log, 'a');
    pacer.rest(stream);
    log.push('the rest of the read');
    await stream.done;
    assert.deepEqual(log, ['the rest of the read', 'a rests', 'a goes on']);
  });

  it('also makes those rest that come while others do', async () => {
    const log: string[] = [];
    const pacer = new StreamPacer();
    const [first, second] = [noting(log, 'a'), noting(log, 'b')];
    pacer.rest(first);
    await new Promise(setImmediate);
    pacer.rest(second);
    await Promise.all([first.done, second.done]);
    assert.deepEqual(log.slice(0, 2), ['a rests', 'b rests']);
    assert.equal(log.length, 4);
  });
});
