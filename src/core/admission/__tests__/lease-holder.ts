import { rateLimits } from './rate-limit-fixture.ts';

/** Run by a test: takes a lease in the store that the first argument names, says so, and holds it until it is killed. */
const [, , store = '', leaseTtlMs = ''] = process.argv;
const fixture = rateLimits({ maxConcurrent: 1, store }, { storeTimes: { leaseTtlMs: Number(leaseTtlMs) } });
await fixture.admit();
process.stdout.write('leased\n');
process.stdin.resume();
