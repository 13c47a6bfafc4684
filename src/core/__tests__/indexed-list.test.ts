import assert from 'node:assert/strict';
import { it } from 'node:test';
import { IndexedList } from '../indexed-list.ts';

it('keeps who was added and not deleted, whatever the order', () => {
  const list = new IndexedList<{ name: string; listIndex: number }>();
  const [first, middle, last] = ['first', 'middle', 'last'].map((name) => ({ name, listIndex: -1 }));
  assert.ok(first && middle && last);
  for (const member of [first, middle, last]) list.add(member);
  list.delete(first);
  assert.deepEqual(new Set(list.list()), new Set([middle, last]));
  // Twice is once, also for the one whose index another member has by now.
  list.delete(first);
  list.delete(last);
  assert.deepEqual(list.list(), [middle]);
  list.add(first);
  list.delete(middle);
  list.delete(first);
  assert.equal(list.size, 0);
});

it('is not disturbed by a member that was never added', () => {
  const list = new IndexedList<{ listIndex: number }>();
  list.delete({ listIndex: -1 });
  list.add({ listIndex: -1 });
  list.delete({ listIndex: 0 });
  assert.equal(list.size, 1);
});
