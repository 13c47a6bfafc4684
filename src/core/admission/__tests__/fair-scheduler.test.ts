import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { parseConfig } from '../../config.ts';
import { type Client, PRIORITY_CLASSES } from '../client.ts';
import { FairScheduler } from '../fair-scheduler.ts';
import { clientNamed, SimulatedBatch, type TraceRequest } from './simulated-batch.ts';

const { fairness } = parseConfig({});
const RUNS = { numRuns: 150, seed: 20_241_007 };

const MOST_TOKENS = 40;
const size = fc.record({
  promptTokens: fc.integer({ min: 1, max: MOST_TOKENS }),
  generatedTokens: fc.integer({ min: 0, max: MOST_TOKENS }),
  error: fc.integer({ min: -10, max: 10 }),
});
type Size = typeof size extends fc.Arbitrary<infer Value> ? Value : never;
const sizes = fc.array(size, { minLength: 1, maxLength: 8 });

const request = (client: Client, { promptTokens, generatedTokens, error }: Size): TraceRequest => ({
  client,
  promptTokens,
  generatedTokens,
  estimate: Math.max(1, promptTokens + error),
});

const work = (client: Client, promptTokens = 10, generatedTokens = 10): TraceRequest => ({
  client,
  promptTokens,
  generatedTokens,
});

/** Runs while `heavy` clients always have more requests waiting than there are slots and others come and go, and looks after every step. */
function runTrace(
  batch: SimulatedBatch,
  trace: {
    heavy: readonly { client: Client; sizes: readonly Size[] }[];
    passing: readonly { at: number; client: Client; size: Size }[];
    steps: number;
  },
  look: () => void,
): void {
  for (let step = 0, turn = 0; step < trace.steps; step++) {
    for (const { client, sizes: own } of trace.heavy) {
      while (batch.waitingOf(client) <= batch.slots) batch.arrive(request(client, own[turn++ % own.length]!));
    }
    for (const { at, client, size: own } of trace.passing) if (at === step) batch.arrive(request(client, own));
    batch.step();
    look();
  }
}

const traces = fc.record({
  slots: fc.integer({ min: 1, max: 6 }),
  first: sizes,
  second: sizes,
  passing: fc.array(
    fc.record({
      at: fc.integer({ min: 0, max: 400 }),
      client: fc.integer({ min: 0, max: 3 }).map((number) => clientNamed(`passing-${number}`)),
      size,
    }),
    { maxLength: 60 },
  ),
});

describe('the order among the clients of a class', () => {
  for (const weights of [
    { promptTokenWeight: 1, generatedTokenWeight: 2 },
    { promptTokenWeight: 3, generatedTokenWeight: 1 },
    { promptTokenWeight: 0, generatedTokenWeight: 1 },
  ]) {
    it(`keeps two clients that always wait within the bound of the paper, weights ${JSON.stringify(weights)}`, () => {
      fc.assert(
        fc.property(traces, ({ slots, first, second, passing }) => {
          const scheduler = new FairScheduler({ ...fairness, ...weights });
          const batch = new SimulatedBatch(scheduler, slots);
          const [f, g] = [clientNamed('f'), clientNamed('g')];
          // Over every interval: the difference since any earlier moment, not only since the start.
          let least = 0;
          let most = 0;
          const heavy = [
            { client: f, sizes: first },
            { client: g, sizes: second },
          ];
          runTrace(batch, { heavy, passing, steps: 600 }, () => {
            const difference = batch.serviceOf(f) - batch.serviceOf(g);
            least = Math.min(least, difference);
            most = Math.max(most, difference);
          });
          assert.ok(most - least <= scheduler.bound, `${most - least} > ${scheduler.bound}`);
          // The bound that is shown is no wider than the trace can justify.
          const perToken = Math.max(weights.promptTokenWeight, weights.generatedTokenWeight);
          assert.ok(scheduler.bound <= 2 * perToken * slots * (2 * MOST_TOKENS + 10));
        }),
        RUNS,
      );
    });
  }

  it('divides the service by the weights', () => {
    fc.assert(
      fc.property(sizes, sizes, fc.integer({ min: 1, max: 5 }), (first, second, weight) => {
        const scheduler = new FairScheduler(fairness);
        const batch = new SimulatedBatch(scheduler, 3);
        const [f, g] = [clientNamed('f', { weight }), clientNamed('g')];
        const heavy = [
          { client: f, sizes: first },
          { client: g, sizes: second },
        ];
        runTrace(batch, { heavy, passing: [], steps: 1500 }, () => {
          const difference = batch.serviceOf(f) / weight - batch.serviceOf(g);
          assert.ok(Math.abs(difference) <= scheduler.bound, `${difference} > ${scheduler.bound}`);
        });
      }),
      { ...RUNS, numRuns: 40 },
    );
  });

  it('never leaves a slot empty while somebody waits', () => {
    fc.assert(
      fc.property(traces, ({ slots, passing }) => {
        const batch = new SimulatedBatch(new FairScheduler(fairness), slots);
        runTrace(batch, { heavy: [], passing, steps: 420 }, () => {
          batch.fill();
          assert.ok(batch.freeSlots === 0 || batch.scheduler.waiting === 0);
        });
      }),
      { ...RUNS, numRuns: 50 },
    );
  });

  it('serves one client in order of arrival', () => {
    const batch = new SimulatedBatch(new FairScheduler(fairness), 1);
    const [a, b] = [clientNamed('a'), clientNamed('b')];
    for (let number = 1; number <= 5; number++) {
      batch.arrive(work(a, number));
      batch.arrive(work(b, number));
    }
    for (let step = 0; step < 100; step++) batch.step();
    for (const client of [a, b]) {
      const order = batch.served.filter((served) => served.client === client).map(({ promptTokens }) => promptTokens);
      assert.deepEqual(order, [1, 2, 3, 4, 5]);
    }
  });

  it('gives no credit to who was away, and no penalty', () => {
    const batch = new SimulatedBatch(new FairScheduler(fairness), 1);
    const [away, busy] = [clientNamed('away'), clientNamed('busy')];
    const keepBusy = (steps: number): void => {
      for (let step = 0; step < steps; step++) {
        if (batch.waitingOf(busy) === 0) batch.arrive(work(busy));
        batch.step();
      }
    };
    batch.arrive(work(away));
    keepBusy(500);
    for (let number = 0; number < 20; number++) batch.arrive(work(away));
    const before = batch.served.length;
    keepBusy(201);
    const since = batch.served.slice(before).map(({ client }) => (client === away ? 'away' : 'busy'));
    // As if both had just come, the other one a little earlier.
    assert.deepEqual(since.slice(0, 4), ['busy', 'away', 'away', 'busy']);
    const half = since.filter((who) => who === 'away').length;
    assert.ok(Math.abs(since.length - 2 * half) <= 1, `${half} of ${since.length}`);
  });

  it('lets no row of new clients starve who was served before', () => {
    const batch = new SimulatedBatch(new FairScheduler(fairness), 2);
    const loyal = clientNamed('loyal');
    let newcomers = 0;
    let servedLoyal = 0;
    for (let step = 0; step < 4000; step++) {
      if (batch.waitingOf(loyal) === 0) batch.arrive(work(loyal));
      while (batch.scheduler.waiting < 10) batch.arrive(work(clientNamed(`new-${newcomers++}`)));
      batch.step();
    }
    servedLoyal = batch.served.filter(({ client }) => client === loyal).length;
    // About one of the twelve who are there at any time.
    assert.ok(servedLoyal > batch.served.length / 20, `${servedLoyal} of ${batch.served.length}`);
  });

  it('knows a bounded number of clients', () => {
    const scheduler = new FairScheduler(fairness);
    const batch = new SimulatedBatch(scheduler, 1);
    for (let number = 0; number < 30_000; number++) {
      batch.arrive(work(clientNamed(`once-${number}`), 1, 0));
      batch.step();
    }
    assert.equal(batch.served.length, 30_000);
    assert.equal(scheduler.classes[1]?.knownClients, 10_000);
  });

  it('takes back what a request was charged that never ran, but not below where its client was lifted to', () => {
    const scheduler = new FairScheduler(fairness);
    const batch = new SimulatedBatch(scheduler, 1);
    const a = clientNamed('a');
    const place = batch.arrive(work(a, 30));
    scheduler.grant(place);
    assert.equal(place.account.counter, 30);
    scheduler.refund(place);
    assert.deepEqual([place.account.counter, place.service, place.account.running], [0, 0, 0]);
    const other = batch.arrive(work(clientNamed('b'), 500));
    scheduler.grant(other);
    const again = batch.arrive(work(a, 30));
    scheduler.grant(again);
    const { floor } = again.account;
    scheduler.chargePrompt(again, 10, 10);
    assert.deepEqual([again.service, again.account.counter], [1, floor + 1]);
    scheduler.refund(again);
    assert.equal(again.account.counter, floor);
  });
});

describe('the order among classes', () => {
  const clients = PRIORITY_CLASSES.map((priority) => clientNamed(priority, { priority }));

  it('serves the more urgent class first', () => {
    const batch = new SimulatedBatch(new FairScheduler({ ...fairness, minimumShare: { default: 0, batch: 0 } }), 1);
    for (const client of clients.toReversed()) for (let count = 0; count < 3; count++) batch.arrive(work(client));
    for (let step = 0; step < 200; step++) batch.step();
    assert.deepEqual(
      batch.served.map(({ client }) => client.priority),
      ['interactive', 'interactive', 'interactive', 'default', 'default', 'default', 'batch', 'batch', 'batch'],
    );
  });

  it('gives each class at least its share, whatever the others send', () => {
    const shares = fc.record({
      default: fc.double({ min: 0.05, max: 0.5, noNaN: true }),
      batch: fc.double({ min: 0.01, max: 0.3, noNaN: true }),
    });
    fc.assert(
      fc.property(shares, fc.array(sizes, { minLength: 3, maxLength: 3 }), (minimumShare, own) => {
        const scheduler = new FairScheduler({ ...fairness, minimumShare });
        const batch = new SimulatedBatch(scheduler, 3);
        const heavy = clients.map((client, index) => ({ client, sizes: own[index]! }));
        runTrace(batch, { heavy, passing: [], steps: 6000 }, () => undefined);
        const total = clients.reduce((sum, client) => sum + batch.serviceOf(client), 0);
        // A share is paid in whole requests.
        const grain = 3 * scheduler.bound;
        const [interactive, normal, background] = clients.map((client) => batch.serviceOf(client) + grain);
        assert.ok(normal! >= minimumShare.default * total, `default: ${normal} of ${total}`);
        assert.ok(background! >= minimumShare.batch * total, `batch: ${background} of ${total}`);
        assert.ok(
          interactive! >= (1 - minimumShare.default - minimumShare.batch) * total,
          `${interactive} of ${total}`,
        );
      }),
      { ...RUNS, numRuns: 40 },
    );
  });

  it('saves nothing for a class that has nothing to do, and does not count what nobody else wanted', () => {
    const [interactive, , background] = clients;
    const batch = new SimulatedBatch(new FairScheduler(fairness), 1);
    const run = (steps: number, ...always: Client[]): string[] => {
      const before = batch.served.length;
      for (let step = 0; step < steps; step++) {
        for (const client of always) {
          for (let missing = 2 - batch.waitingOf(client); missing > 0; missing--) batch.arrive(work(client));
        }
        batch.step();
      }
      return batch.served.slice(before).map(({ client }) => client.priority);
    };
    run(3000, interactive!);
    run(3000, background!);
    const together = run(2000, interactive!, background!);
    const share = together.filter((name) => name === 'batch').length / together.length;
    assert.ok(share >= 0.04 && share <= 0.06, `${share}`);
    // Evenly, not in one go.
    const first = together.indexOf('batch');
    assert.ok(first >= 10 && together.slice(0, 100).filter((name) => name === 'batch').length <= 6, `${first}`);
  });

  it('forgets what it saved for a class whose last waiting request goes', () => {
    const scheduler = new FairScheduler(fairness);
    const batch = new SimulatedBatch(scheduler, 1);
    const [interactive, , background] = clients;
    const waiting = batch.arrive(work(background!));
    for (let step = 0; step < 50; step++) {
      while (batch.waitingOf(interactive!) < 2) batch.arrive(work(interactive!));
      batch.step();
    }
    assert.ok((scheduler.classes[2]?.credit ?? 0) > 0);
    batch.leave(waiting);
    assert.equal(scheduler.classes[2]?.credit, 0);
  });
});
