import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { parseConfig } from '../../config.ts';
import type { LlameroError } from '../../errors.ts';
import { type Client, PRIORITY_CLASSES } from '../client.ts';
import type { QueuePlace } from '../fair-place.ts';
import { FairQueue } from '../fair-queue.ts';
import { clientNamed } from './simulated-batch.ts';

const PATIENT_MS = 1_000_000;

class Waiter {
  readonly name: string;
  readonly client: Client;
  readonly promptTokens: number;
  readonly slots: number;
  place: QueuePlace | null = null;
  wanted = true;
  refusal: LlameroError | null = null;
  readonly #granted: string[];

  constructor(granted: string[], name: string, { slots = 1, promptTokens = 10, ...client }: WaiterChanges = {}) {
    this.name = name;
    this.client = clientNamed(name.replace(/\d+$/, ''), client);
    this.slots = slots;
    this.promptTokens = promptTokens;
    this.#granted = granted;
  }

  onSlot(): boolean {
    if (this.wanted) this.#granted.push(this.name);
    return this.wanted;
  }

  onRefused(error: LlameroError): void {
    this.refusal = error;
  }
}

interface WaiterChanges extends Partial<Client> {
  slots?: number;
  promptTokens?: number;
}

/** A queue with a clock that is set by hand, and waiters that are named after their client and a number. */
function setUp({ slots = 1, maxQueue = 100 } = {}) {
  const { fairness } = parseConfig({});
  const clock = { ms: 0 };
  const queue = new FairQueue({ maxConcurrentRequests: 64, maxQueue, fairness }, () => clock.ms);
  queue.setSlots(slots);
  const granted: string[] = [];
  const come = (name: string, changes?: WaiterChanges, deadlineMs = PATIENT_MS): Waiter => {
    const waiter = new Waiter(granted, name, changes);
    if (queue.acquire(waiter, deadlineMs)) granted.push(name);
    return waiter;
  };
  /** Somebody holds a slot for so long, a number of times: what the queue measures its speed from. */
  const measure = (heldMs: number, times = 5): void => {
    for (let count = 0; count < times; count++) {
      const waiter = come('measure');
      clock.ms += heldMs;
      queue.release(waiter);
    }
    granted.length = 0;
  };
  return { queue, granted, come, clock, measure };
}

describe('the fair queue', () => {
  it('lets one through until the engine has told its slots, then as many as there are', () => {
    const { fairness } = parseConfig({});
    const queue = new FairQueue({ maxConcurrentRequests: 3, maxQueue: 10, fairness });
    const granted: string[] = [];
    const taken = ['a1', 'a2', 'a3', 'a4', 'a5'].map((name) => queue.acquire(new Waiter(granted, name), PATIENT_MS));
    assert.deepEqual(taken, [true, false, false, false, false]);
    queue.setSlots(2);
    assert.deepEqual([granted, queue.inUse, queue.queued], [['a2'], 2, 3]);
    queue.setSlots(8);
    assert.deepEqual([granted, queue.inUse, queue.queued], [['a2', 'a3'], 3, 2]);
  });

  it('serves clients in turn, and who has gone is never handed a slot', () => {
    const { queue, granted, come } = setUp();
    const a1 = come('a1');
    const waiting = ['a2', 'a3', 'a4', 'b1', 'b2'].map((name) => come(name));
    const a2 = waiting[0]!;
    queue.leave(a2);
    queue.leave(a2);
    queue.chargeGenerated(a1, 1);
    assert.deepEqual([queue.inUse, queue.queued], [1, 4]);
    queue.release(a1);
    queue.release(a1);
    queue.release(a2);
    assert.deepEqual([granted, queue.inUse, queue.queued], [['a1', 'b1'], 1, 3]);
    for (const name of ['b1', 'a3', 'b2']) queue.release(waiting.find((waiter) => waiter.name === name)!);
    assert.deepEqual([granted, queue.inUse, queue.queued], [['a1', 'b1', 'a3', 'b2', 'a4'], 1, 0]);
  });

  it('offers a slot that is not wanted any more to the next, and charges nothing for it', () => {
    const { queue, granted, come } = setUp();
    const a1 = come('a1', { promptTokens: 1 });
    const [b1, b2] = [come('b1', { promptTokens: 700 }), come('b2')];
    come('c1');
    b1.wanted = false;
    queue.release(a1);
    assert.deepEqual(granted, ['a1', 'b2']);
    assert.deepEqual([b1.place, queue.fairness().classes[1]?.service, queue.inUse, queue.queued], [null, 11, 1, 1]);
    queue.release(b2);
    assert.deepEqual(granted, ['a1', 'b2', 'c1']);
  });

  it('survives a waiter that gives back, leaves and comes again inside onSlot', () => {
    const { queue, granted, come } = setUp();
    const a1 = come('a1');
    const b1 = come('b1');
    const c1 = come('c1');
    b1.onSlot = () => {
      granted.push('b1');
      queue.leave(c1);
      queue.release(b1);
      come('d1');
      return true;
    };
    queue.release(a1);
    assert.deepEqual([granted, queue.inUse, queue.queued], [['a1', 'b1', 'd1'], 1, 0]);
  });

  it('passes any number of requests by that are not wanted any more', () => {
    const { queue, granted, come } = setUp({ maxQueue: 20_000 });
    const first = come('a0');
    for (let number = 1; number < 20_000; number++) come(`a${number}`).wanted = false;
    const last = come('a20000');
    queue.release(first);
    assert.deepEqual([granted, queue.inUse, queue.queued], [['a0', 'a20000'], 1, 0]);
    queue.release(last);
    assert.equal(queue.inUse, 0);
  });

  it('holds back admission without losing anybody', () => {
    const { queue, granted, come } = setUp({ slots: 2 });
    const a1 = come('a1');
    queue.hold();
    come('b1');
    queue.release(a1);
    assert.deepEqual([granted, queue.inUse, queue.queued], [['a1'], 0, 1]);
    queue.resume();
    assert.deepEqual([granted, queue.inUse, queue.queued], [['a1', 'b1'], 1, 0]);
  });

  it('keeps the slots of a detached request in use until they are given back', () => {
    const { queue, granted, come } = setUp({ slots: 2 });
    const a1 = come('a1', { slots: 2 });
    come('b1');
    const slots = queue.detach(a1);
    assert.deepEqual([slots, queue.detach(a1), queue.inUse, queue.queued], [2, 0, 2, 1]);
    queue.release(a1);
    assert.equal(queue.inUse, 2);
    queue.releaseSlots(slots);
    assert.deepEqual([granted, queue.inUse], [['a1', 'b1'], 1]);
  });
});

describe('requests that take several slots', () => {
  it('wait until theirs are free, and are not overtaken meanwhile', () => {
    const { queue, granted, come } = setUp({ slots: 3 });
    const running = [come('a1'), come('a2'), come('a3')];
    come('b1', { slots: 2 });
    queue.release(running[0]!);
    come('c1', { priority: 'interactive' });
    assert.deepEqual([granted.slice(3), queue.inUse], [[], 2]);
    queue.release(running[1]!);
    assert.deepEqual([granted.slice(3), queue.inUse], [['b1'], 3]);
    queue.release(running[2]!);
    assert.deepEqual(granted.slice(3), ['b1', 'c1']);
  });

  it('let the others go on when they leave', () => {
    const { queue, granted, come } = setUp({ slots: 2 });
    const a1 = come('a1');
    come('a2');
    const b1 = come('b1', { slots: 2 });
    come('c1');
    queue.release(a1);
    assert.deepEqual(granted, ['a1', 'a2']);
    queue.leave(b1);
    assert.deepEqual([granted, queue.inUse], [['a1', 'a2', 'c1'], 2]);
  });

  it('take all slots when they ask for more than there are', () => {
    const { queue, granted, come } = setUp({ slots: 2 });
    const a1 = come('a1', { slots: 9 });
    come('b1', { slots: 9 });
    assert.equal(queue.inUse, 2);
    queue.release(a1);
    assert.deepEqual([granted, queue.inUse], [['a1', 'b1'], 2]);
  });
});

describe('slots of another engine', () => {
  it('are all there, whatever the old one still works on', () => {
    const { queue, granted, come } = setUp({ slots: 2 });
    const old = [come('a1'), come('a2')];
    come('b1');
    assert.deepEqual([queue.inUse, queue.queued], [2, 1]);
    queue.setSlots(2, true);
    assert.deepEqual(granted, ['a1', 'a2', 'b1']);
    for (const waiter of old) queue.release(waiter);
    assert.equal(queue.inUse, 1, 'what the old one gives back is not of the new one');
  });

  it('go first to those that move, also while nobody else gets any', () => {
    const { queue, granted, come } = setUp({ slots: 1 });
    const [moving, busy] = [come('a1'), come('a2')];
    queue.setSlots(1, true);
    come('b1');
    come('b2');
    assert.deepEqual(granted, ['a1', 'a2']);
    assert.equal(queue.isOutdated(moving), true);
    assert.equal(queue.move(moving), false);
    queue.hold();
    queue.release(busy);
    assert.deepEqual(granted, ['a1', 'a2', 'a1']);
    assert.equal(queue.isOutdated(moving), false);
    queue.release(moving);
    queue.resume();
    assert.equal(granted.at(-1), 'b1');
    assert.equal(queue.inUse, 1);
  });

  it('are taken at once where one is free, and are nothing to who has gone', () => {
    const { queue, granted, come } = setUp({ slots: 1 });
    const first = come('a1');
    queue.setSlots(1, true);
    assert.equal(queue.move(first), true);
    assert.equal(queue.inUse, 1);
    queue.setSlots(1, true);
    const second = come('b1');
    assert.equal(queue.move(first), false);
    queue.release(first);
    queue.release(second);
    assert.deepEqual([granted, queue.inUse], [['a1', 'b1'], 0]);
  });
});

describe('a full queue', () => {
  it('refuses, with the time until a place is free', () => {
    const unmeasured = setUp({ maxQueue: 0 });
    unmeasured.come('a1');
    assert.throws(() => unmeasured.come('a2'), { code: 'queue_full', retryAfterMs: 1000 });
    const { queue, come, measure } = setUp({ slots: 2, maxQueue: 1 });
    measure(5000);
    for (const name of ['a1', 'a2', 'a3']) come(name);
    assert.throws(() => come('a4'), { code: 'queue_full', retryAfterMs: 2500 });
    assert.deepEqual([queue.inUse, queue.queued], [2, 1]);
  });

  it('takes in who has nothing waiting in place of the newest request of who has most', () => {
    const { queue, come } = setUp({ maxQueue: 4 });
    come('a1');
    const [a2, a3, a4] = [come('a2'), come('a3'), come('a4')];
    const b1 = come('b1');
    const c1 = come('c1');
    assert.deepEqual([a2.refusal, a3.refusal, a4.refusal?.code, b1.refusal], [null, null, 'queue_full', null]);
    assert.deepEqual([queue.positionOf(a4), queue.queued], [0, 4]);
    // Now a has two, and b one: b gets no second place.
    assert.throws(() => come('b2'), { code: 'queue_full' });
    const d1 = come('d1');
    assert.equal(a3.refusal?.code, 'queue_full');
    assert.throws(() => come('e1'), { code: 'queue_full' });
    assert.deepEqual([a2.refusal, b1.refusal, c1.refusal, d1.refusal, queue.queued], [null, null, null, null, 4]);
  });

  it('counts waiting requests by weight', () => {
    const { come } = setUp({ maxQueue: 3 });
    come('a1');
    const heavy = [come('a2', { weight: 3 }), come('a3', { weight: 3 }), come('a4', { weight: 3 })];
    assert.throws(() => come('b1'), { code: 'queue_full' });
    assert.deepEqual(
      heavy.map(({ refusal }) => refusal),
      [null, null, null],
    );
  });

  it('may have no places at all', () => {
    const { queue, come } = setUp({ maxQueue: 0 });
    const a1 = come('a1');
    assert.throws(() => come('b1'), { code: 'queue_full' });
    queue.release(a1);
    assert.equal(come('b1').place?.state, 'granted');
  });
});

describe('what is said of waiting', () => {
  it('nothing before enough requests have been measured', () => {
    const { queue, come, measure } = setUp();
    measure(1000, 4);
    assert.equal(queue.estimateWaitMs(1), null);
    come('a1');
    assert.equal(come('b1', {}, 0).place?.state, 'waiting');
  });

  it('refuses at once who would be served too late, and says when another try is worth while', () => {
    const { queue, come, measure } = setUp({ slots: 2 });
    measure(4000);
    come('a1');
    come('a2');
    for (const name of ['a3', 'a4', 'a5']) come(name);
    assert.equal(queue.estimateWaitMs(1), 2000);
    assert.throws(() => come('a6', {}, 7000), { code: 'queue_timeout', retryAfterMs: 2000 });
    assert.throws(() => come('a6', {}, 3000), { code: 'queue_timeout', retryAfterMs: 5000 });
    // Who is not in the way of himself is served sooner.
    const b1 = come('b1', {}, 5000);
    assert.deepEqual([queue.positionOf(b1), queue.queued], [1, 4]);
    assert.equal(come('a6', {}, 10_000).place?.state, 'waiting');
  });

  it('tells positions in the order of service', () => {
    const { queue, granted, come, measure } = setUp();
    measure(1000);
    let running = come('x1');
    const waiters = ['a1', 'a2', 'b1', 'a3', 'b2', 'c1', 'b3'].map((name) => come(name));
    waiters.push(come('u1', { priority: 'interactive' }));
    const expected = waiters
      .toSorted((one, other) => queue.positionOf(one) - queue.positionOf(other))
      .map(({ name }) => name);
    assert.equal(new Set(waiters.map((waiter) => queue.positionOf(waiter))).size, waiters.length);
    for (let turn = 0; turn < waiters.length; turn++) {
      queue.release(running);
      running = waiters.find(({ name }) => name === granted.at(-1))!;
    }
    assert.deepEqual(granted.slice(1), expected);
    assert.equal(queue.positionOf(running), 0);
  });

  it('a class behind others is told no later than its share allows', () => {
    const { queue, come } = setUp();
    come('x1');
    for (let number = 0; number < 50; number++) come(`u${number}`, { priority: 'interactive' });
    assert.equal(queue.positionOf(come('a1')), 5);
    assert.equal(queue.positionOf(come('n1', { priority: 'batch' })), 20);
  });

  it('reports how far the waiting clients are apart, and who they are to which class', () => {
    const { queue, come } = setUp({ slots: 2 });
    assert.deepEqual(queue.fairness(), {
      gap: 0,
      bound: 2,
      waitingClients: 0,
      knownClients: 0,
      classes: [
        { name: 'interactive', waiting: 0, service: 0 },
        { name: 'default', waiting: 0, service: 0 },
        { name: 'batch', waiting: 0, service: 0 },
      ],
    });
    const a1 = come('a1', { promptTokens: 30 });
    const b1 = come('b1', { promptTokens: 10 });
    come('a2');
    come('b2');
    come('n1', { priority: 'batch' });
    queue.chargePrompt(a1, 40, 20);
    queue.chargeGenerated(a1, 5);
    queue.chargeGenerated(b1, 10);
    const { gap, bound, waitingClients, classes } = queue.fairness();
    // b entered at the 30 of a: 30 + 10 + 2 · 10. a was lifted to the mean of both, 35, and then had 2 · 5.
    assert.deepEqual([gap, bound, waitingClients], [60 - 45, 2 * 2 * 65, 3]);
    assert.deepEqual(
      classes.map(({ waiting, service }) => [waiting, service]),
      [
        [0, 0],
        [2, 62],
        [1, 0],
      ],
    );
  });

  it('charges what becomes known after the slot was given back, and nothing to who never had one', () => {
    const { queue, come } = setUp();
    const a1 = come('a1');
    const b1 = come('b1');
    queue.chargeGenerated(b1, 5);
    queue.leave(b1);
    queue.chargeGenerated(b1, 5);
    queue.release(a1);
    queue.chargePrompt(a1, 20, 0);
    queue.chargeGenerated(a1, 5);
    queue.refund(a1);
    assert.deepEqual([a1.place?.service, b1.place, queue.fairness().classes[1]?.service], [30, null, 30]);
  });
});

const operation = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('come' as const),
      client: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      slots: fc.integer({ min: 1, max: 4 }),
      priority: fc.constantFrom(...PRIORITY_CLASSES),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom('release', 'leave', 'refund', 'charge', 'unwant'),
      which: fc.nat(),
      tokens: fc.nat(50),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('hold', 'resume') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('slots' as const), slots: fc.integer({ min: 1, max: 5 }) }) },
);

describe('whatever happens in whatever order', () => {
  it('no more slots than there are, nobody lost, nobody served twice, nobody served who has gone', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
        const { queue, granted, come } = setUp({ slots: 3, maxQueue: 8 });
        const all: Waiter[] = [];
        const gone = new Set<Waiter>();
        let limit = 3;
        let held = false;
        const holding = (): Waiter[] => all.filter(({ place }) => place?.state === 'granted');
        const waiting = (): Waiter[] => all.filter(({ place }) => place?.state === 'waiting');
        for (const [step, action] of operations.entries()) {
          const before = queue.inUse;
          switch (action.kind) {
            case 'come': {
              const { client, slots, priority } = action;
              try {
                all.push(come(`${client}${step}`, { slots, priority }));
              } catch (error) {
                assert.equal((error as LlameroError).code, 'queue_full');
              }
              break;
            }
            case 'hold':
              queue.hold();
              held = true;
              break;
            case 'resume':
              queue.resume();
              held = false;
              break;
            case 'slots':
              limit = action.slots;
              queue.setSlots(limit);
              break;
            case 'leave':
            case 'unwant': {
              const waiter = pick(waiting(), action.which);
              if (waiter === undefined) break;
              gone.add(waiter);
              if (action.kind === 'leave') queue.leave(waiter);
              else waiter.wanted = false;
              break;
            }
            default: {
              const waiter = pick(holding(), action.which);
              if (waiter === undefined) break;
              if (action.kind === 'charge') queue.chargeGenerated(waiter, action.tokens);
              else if (action.kind === 'refund') queue.refund(waiter);
              else queue.release(waiter);
            }
          }
          assert.ok(queue.inUse <= Math.max(limit, before), 'more slots than there are');
          assert.equal(
            queue.inUse,
            holding().reduce((sum, { place }) => sum + (place?.slots ?? 0), 0),
          );
          assert.equal(queue.queued, waiting().length);
          assert.ok(queue.queued <= 8);
          assert.equal(new Set(granted).size, granted.length, 'served twice');
          assert.ok(held || queue.queued === 0 || queue.inUse > 0, 'somebody waits for nothing');
        }
        queue.resume();
        for (let turn = 0; turn < all.length; turn++) for (const waiter of holding()) queue.release(waiter);
        assert.deepEqual([queue.inUse, queue.queued], [0, 0]);
        for (const waiter of all) {
          const expected = gone.has(waiter) || waiter.refusal !== null ? 0 : 1;
          assert.equal(granted.filter((name) => name === waiter.name).length, expected, waiter.name);
        }
        for (const fairClass of queue.fairness().classes) assert.equal(fairClass.waiting, 0);
      }),
      { numRuns: 300, seed: 4711 },
    );
  });
});

function pick<Item>(items: readonly Item[], number: number): Item | undefined {
  return items[number % Math.max(1, items.length)];
}
