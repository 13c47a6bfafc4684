import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { splitEvents, withEventId } from '../resumable-events.ts';
import { type LogBudget, ResumableLog } from '../resumable-log.ts';

function budget(perLogBytes: number, totalBytes = 1_000_000_000): LogBudget {
  return { perLogBytes, totalBytes, usedBytes: 0 };
}

/** Everything from an offset on. */
function readAll(log: ResumableLog, from: number): Buffer {
  const pieces: Buffer[] = [];
  for (let at = from; at < log.end;) {
    const piece = log.read(at);
    assert.ok(piece.length > 0);
    pieces.push(piece);
    at += piece.length;
  }
  return Buffer.concat(pieces);
}

describe('the log of a stream', () => {
  it('gives back what is held from any offset, and pieces end where something that was added ends', () => {
    const pieces = fc.array(fc.uint8Array({ minLength: 1, maxLength: 400 }), { maxLength: 60 });
    fc.assert(
      fc.property(pieces, fc.integer({ min: 64, max: 4096 }), fc.nat(), (added, limit, unread) => {
        const log = new ResumableLog(budget(limit));
        let all = Buffer.alloc(0);
        const ends = new Set<number>();
        for (const bytes of added) {
          log.append(Buffer.from(bytes));
          all = Buffer.concat([all, bytes]);
          ends.add(all.length);
          log.trim(Math.max(0, all.length - (unread % 600)));
        }
        assert.equal(log.end, all.length);
        assert.ok(log.start <= Math.max(0, all.length - (unread % 600)));
        for (let offset = log.start; offset <= log.end; offset += 37) {
          assert.deepEqual(readAll(log, offset), all.subarray(offset));
          if (offset < log.end) assert.ok(ends.has(offset + log.read(offset).length));
        }
      }),
    );
  });

  it('holds no more than its limit of what was read, and all that was not', () => {
    const shared = budget(16_384);
    const log = new ResumableLog(shared);
    for (let count = 0; count < 100; count += 1) {
      log.append(Buffer.alloc(1000, count));
      assert.equal(log.trim(log.end), true);
      assert.ok(shared.usedBytes <= 16_384);
    }
    assert.ok(log.end - log.start > 12_000, 'and not much less');
    const read = log.end;
    for (let count = 0; count < 100; count += 1) log.append(Buffer.alloc(1000, count));
    assert.equal(log.trim(read), false);
    assert.ok(log.start <= read && log.end - log.start >= 100_000);
    assert.equal(log.trim(log.end), true);
    assert.ok(shared.usedBytes <= 16_384);
  });

  it('lets what was read go when all logs together hold too much, but for its last block', () => {
    const shared = budget(65_536, 40_000);
    const logs = [new ResumableLog(shared), new ResumableLog(shared)];
    for (let count = 0; count < 200; count += 1) {
      for (const log of logs) {
        log.append(Buffer.alloc(1000));
        log.trim(log.end);
      }
    }
    assert.ok(shared.usedBytes <= 40_000 + 2 * 8192, `${shared.usedBytes}`);
    for (const log of logs) {
      assert.ok(log.start < log.end);
      log.clear();
    }
    assert.equal(shared.usedBytes, 0);
  });

  it('takes an event that is larger than a block, and than the limit', () => {
    const log = new ResumableLog(budget(4096));
    const huge = Buffer.alloc(100_000, 'x');
    log.append(huge);
    assert.deepEqual(readAll(log, 0), huge);
    log.append(Buffer.from('more'));
    log.trim(log.end);
    assert.equal(log.start, huge.length);
  });
});

describe('events with the place behind them', () => {
  const cases: [name: string, run: string, events: string[]][] = [
    ['one', 'data: a\n\n', ['data: a\n\n']],
    ['several', 'data: a\n\nevent: b\ndata: c\n\n: d\n\n', ['data: a\n\n', 'event: b\ndata: c\n\n', ': d\n\n']],
    ['with line ends of Windows', 'data: a\r\n\r\ndata: b\r\n\r\n', ['data: a\r\n\r\n', 'data: b\r\n\r\n']],
    ['none', '', []],
  ];
  for (const [name, run, events] of cases) {
    it(`are cut at blank lines: ${name}`, () => {
      assert.deepEqual(splitEvents(Buffer.from(run)).map(String), events);
    });
  }

  it('count their own line, and each of its digits', () => {
    for (const event of ['data: äöü\n\n', 'event: x\ndata: y\r\n\r\n']) {
      for (let start = 0; start < 1200; start += 1) {
        const marked = withEventId(Buffer.from(event), 'stream', start);
        const [, offset] = /\nid: stream:(\d+)\n\r?\n$/.exec(marked.toString()) ?? [];
        assert.equal(Number(offset), start + marked.length);
        assert.equal(marked.toString().replace(/id: .*\n/, ''), event);
      }
      for (const start of [9_940, 9_999, 99_960, 999_999_950, 999_999_999_999]) {
        for (let more = 0; more < 60; more += 1) {
          const marked = withEventId(Buffer.from(event), 'stream', start + more).toString('latin1');
          assert.equal(Number(/stream:(\d+)/.exec(marked)?.[1]), start + more + marked.length);
        }
      }
    }
  });

  it('have none where they are comments', () => {
    assert.equal(withEventId(Buffer.from(': heartbeat\n\n'), 'stream', 5).toString(), ': heartbeat\n\n');
  });
});
