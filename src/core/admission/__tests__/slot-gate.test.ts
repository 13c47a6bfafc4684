import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SlotGate } from '../slot-gate.ts';

function waiters(count: number): { granted: number[]; list: { onSlot: () => void }[] } {
  const granted: number[] = [];
  return { granted, list: Array.from({ length: count }, (_, index) => ({ onSlot: () => granted.push(index) })) };
}

describe('the gate in front of the slots', () => {
  it('lets one through until the engine has told its slots, then as many as there are', () => {
    const gate = new SlotGate({ maxConcurrentRequests: 10, maxQueue: 10 });
    const { granted, list } = waiters(5);
    const taken = list.map((waiter) => gate.acquire(waiter));
    assert.deepEqual(taken, [true, false, false, false, false]);
    gate.setSlots(3);
    assert.deepEqual(granted, [1, 2]);
    assert.deepEqual([gate.inUse, gate.queued], [3, 2]);
  });

  it('never lets through more than maxConcurrentRequests', () => {
    const gate = new SlotGate({ maxConcurrentRequests: 2, maxQueue: 10 });
    gate.setSlots(8);
    assert.deepEqual(
      waiters(3).list.map((waiter) => gate.acquire(waiter)),
      [true, true, false],
    );
  });

  it('serves in order and leaves out who has gone', () => {
    const gate = new SlotGate({ maxConcurrentRequests: 1, maxQueue: 10 });
    const { granted, list } = waiters(4);
    for (const waiter of list) gate.acquire(waiter);
    gate.leave(list[1]!);
    gate.release();
    gate.release();
    assert.deepEqual(granted, [2, 3]);
    gate.release();
    assert.deepEqual([gate.inUse, gate.queued], [0, 0]);
  });

  it('refuses when the queue is full', () => {
    const gate = new SlotGate({ maxConcurrentRequests: 1, maxQueue: 1 });
    const { list } = waiters(3);
    gate.acquire(list[0]!);
    gate.acquire(list[1]!);
    assert.throws(() => gate.acquire(list[2]!), { code: 'queue_full' });
    assert.deepEqual([gate.inUse, gate.queued], [1, 1]);
  });
});
