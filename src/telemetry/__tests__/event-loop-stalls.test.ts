import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { LlameroEmitter, type LlameroEvents } from '../../core/events.ts';
import { stallBetween, watchEventLoop } from '../event-loop-stalls.ts';

type Stall = LlameroEvents['event-loop-stall'][0];

/** Holds the event loop up. */
function spinOnPurpose(ms: number): number {
  const end = performance.now() + ms;
  let turns = 0;
  while (performance.now() < end) turns += 1;
  return turns;
}

async function stallOf(events: LlameroEmitter, ms: number): Promise<Stall> {
  const told = once(events, 'event-loop-stall') as Promise<[Stall]>;
  // Behind the turn in which the watching began.
  setImmediate(() => spinOnPurpose(ms));
  return (await told)[0];
}

describe('stalls of the event loop', { timeout: 60_000 }, () => {
  for (const [name, gapMs, idleMs, stallMs] of [
    ['in time', 100, 99, null],
    ['late, because the processor was busy elsewhere for a moment', 180, 10, null],
    ['a stall behind idleness', 290, 80, 210],
    ['a stall of the whole time', 450, 0, 450],
    ['long, but idle: the timer came late', 400, 300, null],
    ['just long enough', 200, 0, 200],
  ] as const) {
    it(`${name}: ${stallMs ?? 'none'}`, () => {
      assert.equal(stallBetween({ at: 1000, idleMs: 50 }, { at: 1000 + gapMs, idleMs: 50 + idleMs }, 200), stallMs);
    });
  }

  it('are told with their length, and without a stack where none was asked for', async () => {
    const events = new LlameroEmitter();
    const stop = watchEventLoop({ events });
    const { ms, stack } = await stallOf(events, 400);
    stop();
    assert.ok(ms >= 390, `${ms} ms`);
    assert.equal(stack, null);
  });

  it('are told with what ran, innermost first', async () => {
    const events = new LlameroEmitter();
    const stop = watchEventLoop({ events, stacks: true });
    let found: string | undefined;
    while (found === undefined) {
      // The thread that looks on may still be loading, or get its processor only at the end of the stall.
      const { stack } = await stallOf(events, 500);
      found = stack?.slice(0, 2).find((frame) => frame.startsWith('spinOnPurpose ('));
    }
    stop();
    assert.match(found, /event-loop-stalls\.test\.[jt]s:\d+:\d+\)$/);
  });

  it('are not told any more when the watching has ended', async () => {
    const events = new LlameroEmitter();
    const stop = watchEventLoop({ events });
    stop();
    stop();
    const told: Stall[] = [];
    events.on('event-loop-stall', (stall) => told.push(stall));
    const other = new LlameroEmitter();
    const stopOther = watchEventLoop({ events: other });
    await stallOf(other, 300);
    stopOther();
    assert.deepEqual(told, []);
  });
});
