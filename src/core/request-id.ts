import { randomBytes } from 'node:crypto';

const PROCESS = randomBytes(9).toString('base64url');
let count = 0;

/** A new id of a request: unique, but not secret. Counted within the process, since a random one costs more than 1 µs. */
export function newRequestId(): string {
  count += 1;
  return `req_${PROCESS}_${count.toString(36)}`;
}
