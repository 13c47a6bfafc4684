import { clientAt, rateLimits } from './rate-limit-fixture.ts';

/** Run by a test with --expose-gc: admits one request of each of very many addresses, and prints the heap on the way. */
const ADDRESSES = 100_000;
const MAX_CLIENTS = 5000;

const fixture = rateLimits({
  requestsPerMinute: 60,
  requestsPerHour: 1000,
  tokensPerDay: 100_000,
  maxConcurrent: 4,
  maxClients: MAX_CLIENTS,
});
const heapBytes: number[] = [];
for (let index = 1; index <= ADDRESSES; index++) {
  const grant = await fixture.admit({ client: clientAt(`2001:db8:${index.toString(16)}::/64`), maxTokens: 50 });
  grant.settle(10);
  if (index === MAX_CLIENTS * 2 || index === ADDRESSES) {
    globalThis.gc?.();
    heapBytes.push(process.memoryUsage().heapUsed);
  }
}
process.stdout.write(JSON.stringify({ heapBytes, clients: fixture.limits.clients, maxClients: MAX_CLIENTS }));
await fixture.limits.stop();
