import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const FLOOD = fileURLToPath(new URL('rate-limit-flood.ts', import.meta.url));

it('a flood of different addresses costs a fixed amount of memory', { timeout: 60_000 }, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', FLOOD]);
  const { heapBytes, clients, maxClients } = JSON.parse(stdout) as {
    heapBytes: [number, number];
    clients: number;
    maxClients: number;
  };
  assert.equal(clients, maxClients);
  // What 90,000 more addresses may leave behind; kept whole they would take 100 MB.
  assert.ok(heapBytes[1] - heapBytes[0] < 3_000_000, `grew from ${heapBytes[0]} to ${heapBytes[1]} bytes`);
});
