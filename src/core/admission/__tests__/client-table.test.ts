import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ClientTable } from '../client-table.ts';

function tableOf(maxClients: number) {
  const gone: string[] = [];
  const table = new ClientTable(maxClients, (client) => gone.push(client.key));
  return { table, gone };
}

describe('the table of clients', () => {
  it('forgets the least recently seen one when it is full', () => {
    const { table, gone } = tableOf(3);
    for (const key of ['a', 'b', 'c', 'a', 'd', 'e']) table.see(key, 'ip', 0);
    assert.deepEqual(gone, ['b', 'c']);
    assert.equal(table.size, 3);
  });

  it('knows a client again until then', () => {
    const { table } = tableOf(2);
    const first = table.see('a', 'ip', 0);
    assert.equal(table.see('a', 'ip', 1), first);
    table.see('b', 'ip', 2);
    table.see('c', 'ip', 3);
    assert.notEqual(table.see('a', 'ip', 4), first);
  });

  it('forgets of the fullest pool, so that a flood of addresses leaves the users alone', () => {
    const { table, gone } = tableOf(10);
    for (let index = 0; index < 3; index++) table.see(`user:${index}`, 'user', 0);
    for (let index = 0; index < 1000; index++) table.see(`ip:${index}`, 'ip', 1);
    assert.equal(
      gone.some((key) => key.startsWith('user')),
      false,
    );
    assert.equal(table.size, 10);
  });

  it('passes over clients in use, and grows when all are', () => {
    const { table, gone } = tableOf(2);
    const [a, b] = [table.see('a', 'ip', 0), table.see('b', 'ip', 0)];
    a.inUse = 1;
    table.see('c', 'ip', 0);
    assert.deepEqual(gone, ['b']);
    table.see('c', 'ip', 0).inUse = 1;
    table.see('d', 'ip', 0);
    assert.deepEqual([gone, table.size], [['b'], 3]);
    a.inUse = 0;
    b.inUse = 0;
    table.see('e', 'ip', 0);
    assert.equal(table.size, 3);
  });

  it('sweeps out who is absent, holds nothing, and has no window open', () => {
    const { table, gone } = tableOf(10);
    table.see('absent', 'ip', 0);
    table.see('busy', 'ip', 0).inUse = 1;
    table.see('counted', 'user', 0).windowsEndMs = 5000;
    table.see('recent', 'session', 900);
    table.sweep(1000, 500);
    assert.deepEqual(gone, ['absent']);
    table.sweep(5000, 500);
    assert.deepEqual(gone, ['absent', 'counted', 'recent']);
  });

  it('forgets everybody when it is cleared', () => {
    const { table, gone } = tableOf(10);
    table.see('absent', 'ip', 0);
    table.see('counted', 'user', 0).windowsEndMs = 5000;
    table.clear();
    assert.deepEqual([gone, table.size], [['absent', 'counted'], 0]);
  });
});
