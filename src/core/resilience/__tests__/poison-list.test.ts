import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fingerprintOf, PoisonList, type PoisonListOptions } from '../poison-list.ts';
import { Quarantine } from '../quarantine.ts';

const ROUTE = '/v1/chat/completions';
const HOUR_MS = 3_600_000;
const body = (text: string): Buffer => Buffer.from(JSON.stringify({ prompt: text }));
const fingerprint = (text: string) => fingerprintOf(ROUTE, body(text));

function listAt(options: PoisonListOptions = {}) {
  const clock = { now: 0 };
  return { clock, list: new PoisonList({ ...options, now: () => clock.now }) };
}

describe('the fingerprint of a request', () => {
  it('is the same for the same bytes on the same route', () => assert.equal(fingerprint('a'), fingerprint('a')));
  it('differs by body', () => assert.notEqual(fingerprint('a'), fingerprint('b')));
  it('differs by route', () => assert.notEqual(fingerprint('a'), fingerprintOf('/completion', body('a'))));
  it('tells route and body apart', () =>
    assert.notEqual(fingerprintOf('/a', Buffer.from('b')), fingerprintOf('/ab', Buffer.from(''))));
});

describe('the poison list', () => {
  it('knows nothing at first', () => {
    const { list } = listAt();
    assert.equal(list.inspect(ROUTE, body('a')), null);
    assert.equal(list.check(fingerprint('a')), 'clean');
    assert.equal(list.size, 0);
  });

  it('suspects after one death, and refuses after two', () => {
    const { list } = listAt();
    assert.deepEqual(list.strike(fingerprint('a'), 1), { strikes: 1, refused: false });
    assert.equal(list.inspect(ROUTE, body('a')), fingerprint('a'));
    assert.deepEqual(list.strike(fingerprint('a'), 2), { strikes: 2, refused: true });
    const refusal = { code: 'poisonous_request', status: 422, details: { strikes: 2, refusedForMs: HOUR_MS } };
    assert.throws(() => list.inspect(ROUTE, body('a')), refusal);
    assert.throws(() => list.check(fingerprint('a')), refusal);
  });

  it('takes many equal requests at one death for one strike', () => {
    const { list } = listAt();
    for (let request = 0; request < 4; request += 1)
      assert.deepEqual(list.strike(fingerprint('a'), 7), { strikes: 1, refused: false });
  });

  it('leaves others alone, of the same length too', () => {
    const { list } = listAt();
    list.strike(fingerprint('a'), 1);
    list.strike(fingerprint('a'), 2);
    assert.equal(list.inspect(ROUTE, body('b')), null);
    assert.equal(list.inspect(ROUTE, body('longer')), null);
    assert.equal(list.inspect('/completion', body('a')), null);
    assert.equal(list.inspect(ROUTE, null), null);
  });

  it('clears a suspect that was answered, so that it starts from nothing', () => {
    const { list } = listAt();
    list.strike(fingerprint('a'), 1);
    list.clear(fingerprint('a'));
    assert.equal(list.size, 0);
    assert.equal(list.strike(fingerprint('a'), 2).strikes, 1);
  });

  it('does not clear what is refused', () => {
    const { list } = listAt();
    list.strike(fingerprint('a'), 1);
    list.strike(fingerprint('a'), 2);
    list.clear(fingerprint('a'));
    assert.throws(() => list.check(fingerprint('a')), { code: 'poisonous_request' });
  });

  it('forgets an hour after the latest strike', () => {
    const { list, clock } = listAt();
    list.strike(fingerprint('a'), 1);
    clock.now = HOUR_MS - 1;
    list.strike(fingerprint('a'), 2);
    clock.now = 2 * HOUR_MS - 2;
    assert.throws(() => list.inspect(ROUTE, body('a')), { details: { strikes: 2, refusedForMs: 1 } });
    clock.now += 1;
    assert.equal(list.check(fingerprint('a')), 'clean');
    assert.equal(list.inspect(ROUTE, body('a')), null);
    assert.equal(list.size, 0);
  });

  it('does not count strikes that are further apart than that', () => {
    const { list, clock } = listAt();
    list.strike(fingerprint('a'), 1);
    clock.now = HOUR_MS;
    assert.deepEqual(list.strike(fingerprint('a'), 2), { strikes: 1, refused: false });
  });

  it('is bounded: the one whose latest strike is oldest goes', () => {
    const { list } = listAt({ maxEntries: 2 });
    list.strike(fingerprint('a'), 1);
    list.strike(fingerprint('b'), 1);
    list.strike(fingerprint('a'), 2);
    list.strike(fingerprint('c'), 3);
    assert.equal(list.size, 2);
    assert.equal(list.check(fingerprint('b')), 'clean');
    assert.throws(() => list.check(fingerprint('a')), { code: 'poisonous_request' });
  });
});

function suspects(quarantine: Quarantine, count: number) {
  const turns: number[] = [];
  const list = Array.from({ length: count }, (_, index) => ({ onTurn: () => turns.push(index) }));
  return { turns, list, entered: list.map((suspect) => quarantine.enter(suspect)) };
}

describe('the quarantine', () => {
  it('gives the first his turn at once and the others theirs in order', () => {
    const quarantine = new Quarantine();
    const { turns, list, entered } = suspects(quarantine, 3);
    assert.deepEqual(entered, [true, false, false]);
    quarantine.leave(list[0]!);
    assert.deepEqual(turns, [1]);
    quarantine.leave(list[1]!);
    assert.deepEqual(turns, [1, 2]);
    quarantine.leave(list[2]!);
    assert.equal(quarantine.size, 0);
    assert.equal(quarantine.enter(list[0]!), true);
  });

  it('leaves out who has gone, and gives no turn because of him', () => {
    const quarantine = new Quarantine();
    const { turns, list } = suspects(quarantine, 3);
    quarantine.leave(list[1]!);
    assert.deepEqual(turns, []);
    quarantine.leave(list[0]!);
    assert.deepEqual(turns, [2]);
  });

  it('does nothing for strangers and for who has left', () => {
    const quarantine = new Quarantine();
    const { turns, list } = suspects(quarantine, 3);
    quarantine.leave({ onTurn: () => undefined });
    quarantine.leave(list[0]!);
    quarantine.leave(list[0]!);
    assert.deepEqual(turns, [1]);
    assert.equal(quarantine.size, 2);
  });

  it('keeps the place of who enters again', () => {
    const quarantine = new Quarantine();
    const { list } = suspects(quarantine, 2);
    assert.equal(quarantine.enter(list[0]!), true);
    assert.equal(quarantine.enter(list[1]!), false);
    assert.equal(quarantine.size, 2);
  });

  it('goes on when somebody leaves in his own turn', () => {
    const quarantine = new Quarantine();
    const { turns, list } = suspects(quarantine, 1);
    const hasty = { onTurn: () => quarantine.leave(hasty) };
    const patient = { onTurn: () => turns.push(9) };
    quarantine.enter(hasty);
    quarantine.enter(patient);
    quarantine.leave(list[0]!);
    assert.deepEqual(turns, [9]);
    assert.equal(quarantine.size, 1);
  });
});

describe('a poison among innocent requests', () => {
  for (const place of [0, 1, 2, 3]) {
    it(`is found wherever it stands (${place}), at the price of two deaths, and nobody else is refused`, () => {
      const { list } = listAt();
      const quarantine = new Quarantine();
      const inFlight = ['a', 'b', 'c', 'd'];
      const poison = inFlight[place]!;
      let deaths = 1;
      for (const text of inFlight) list.strike(fingerprint(text), deaths);
      const answered: string[] = [];
      const runs = inFlight.map((text) => ({ text, onTurn: () => undefined }));
      for (const run of runs) quarantine.enter(run);
      for (const run of runs) {
        assert.equal(quarantine.enter(run), true);
        assert.equal(list.inspect(ROUTE, body(run.text)), fingerprint(run.text));
        if (run.text === poison) list.strike(fingerprint(run.text), (deaths += 1));
        else {
          list.clear(fingerprint(run.text));
          answered.push(run.text);
        }
        quarantine.leave(run);
      }
      assert.equal(deaths, 2);
      assert.deepEqual(
        answered,
        inFlight.filter((text) => text !== poison),
      );
      assert.throws(() => list.inspect(ROUTE, body(poison)), { code: 'poisonous_request' });
      for (const text of answered) assert.equal(list.inspect(ROUTE, body(text)), null);
    });
  }
});
