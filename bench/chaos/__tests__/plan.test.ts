import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { clientPlan, faultPlan, GARBAGE_KINDS, PROMPTS } from '../plan.ts';

const STEPS = 300;
const EVERY_MS = [100, 200] as const;

describe('the plan of a run', () => {
  it('is the same for the same seed, and another for another', () => {
    assert.deepEqual(first(clientPlan(7, 3)), first(clientPlan(7, 3)));
    assert.notDeepEqual(first(clientPlan(7, 3)), first(clientPlan(8, 3)));
    assert.notDeepEqual(first(clientPlan(7, 3)), first(clientPlan(7, 4)));
    assert.deepEqual(first(faultPlan(7, EVERY_MS)), first(faultPlan(7, EVERY_MS)));
  });

  it('has every kind of request, every signal and every garbage in it', () => {
    const requests = [1, 2, 3, 4, 5, 6, 7].flatMap((client) =>
      first(clientPlan(1, client)).flatMap((step) => step.requests),
    );
    const kinds = new Set(requests.map(({ kind }) => kind));
    assert.deepEqual([...kinds].toSorted(), [
      'count',
      'embedding',
      'garbage',
      'half',
      'stream',
      'template',
      'tokenize',
      'whole',
    ]);
    const pieces = new Set(requests.filter(({ kind }) => kind === 'garbage').map(({ prompt }) => prompt));
    assert.equal(pieces.size, GARBAGE_KINDS);
    assert.ok(requests.every(({ kind, prompt }) => kind === 'garbage' || prompt < PROMPTS));
    assert.equal(new Set(first(faultPlan(1, EVERY_MS)).map(({ signal }) => signal)).size, 4);
  });

  it('makes the first client a light one', () => {
    const requests = first(clientPlan(1, 0)).flatMap((step) => step.requests);
    assert.ok(requests.every(({ kind, caller, leave }) => kind === 'stream' && caller === 'light' && leave === null));
  });
});

function first<Item>(plan: Generator<Item>): Item[] {
  return Array.from({ length: STEPS }, () => plan.next().value as Item);
}
