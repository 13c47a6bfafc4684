import { hash } from 'node:crypto';
import type { ClientPool } from './client.ts';

/** How identities are told apart in all state that is kept of clients. Pure. */

/** What an id within a pool is: given by somebody who is believed, or that of an API key, or scoped by an API key, or scoped by an address. */
export type IdKind = 'id' | 'key' | 'ip';

const LONGEST_KEY = 200;

/**
 * The {@link Client.key} of an id: `pool:kind:id`. What would be longer than 200 characters is kept by its SHA-256.
 * No two ids have the same key.
 */
export function clientKey(pool: ClientPool, kind: IdKind, id: string): string {
  const key = `${pool}:${kind}:${id}`;
  return key.length <= LONGEST_KEY ? key : `${pool}:sha256:${hash('sha256', `${kind}:${id}`)}`;
}

/** An id that is unique only beside another one, as one id. The length in front keeps the two apart. */
export function scopedId(scope: string, id: string): string {
  return `${scope.length}:${scope}:${id}`;
}
