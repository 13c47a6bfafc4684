import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LogTail } from '../log-tail.ts';

function collect(capacity: number): { tail: LogTail; seen: string[] } {
  const seen: string[] = [];
  return { tail: new LogTail(capacity, (line) => seen.push(line)), seen };
}

describe('the tail of a log', () => {
  it('joins lines that arrive in pieces', () => {
    const { tail, seen } = collect(10);
    const writer = tail.writer();
    for (const piece of ['on', 'e\ntw', 'o\n', '\nthr', 'ee']) writer.write(piece);
    assert.deepEqual(seen, ['one', 'two']);
    writer.end();
    assert.deepEqual(tail.lines(), ['one', 'two', 'three']);
  });

  it('keeps the lines of two pipes apart', () => {
    const { tail } = collect(10);
    const [out, err] = [tail.writer(), tail.writer()];
    out.write('out ');
    err.write('err ');
    out.write('1\n');
    err.write('2\n');
    assert.deepEqual(tail.lines(), ['out 1', 'err 2']);
  });

  it('keeps the last lines only', () => {
    const { tail, seen } = collect(3);
    const writer = tail.writer();
    for (let index = 0; index < 1000; index++) writer.write(`line ${index}\n`);
    assert.deepEqual(tail.lines(), ['line 997', 'line 998', 'line 999']);
    assert.equal(seen.length, 1000);
  });

  it('cuts an endless line', () => {
    const { tail } = collect(3);
    const writer = tail.writer();
    for (let index = 0; index < 1000; index++) writer.write('x'.repeat(10_000));
    writer.write('\nnext\n');
    const [long, next] = tail.lines();
    assert.equal(long?.length, 4096);
    assert.equal(next, 'next');
  });
});
