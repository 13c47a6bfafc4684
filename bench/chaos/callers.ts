import { addApiKey } from '../../src/gateway/key-store.ts';
import type { ApiKeyGrant } from '../../src/gateway/key-file.ts';
import type { CallerName } from './plan.ts';

/** Whoever calls: those of the plan, and the run itself. */
export type KeyHolder = CallerName | 'admin';

/** Requests of `leased` at once. */
export const LEASES = 3;
/** Requests per minute of `limited`. */
export const LIMITED_REQUESTS = 40;

const GRANTS: Readonly<Record<KeyHolder, ApiKeyGrant>> = {
  light: { userId: 'light', priority: 'interactive' },
  heavy: { userId: 'heavy', weight: 2 },
  plain: { userId: 'plain' },
  batch: { userId: 'nightly', priority: 'batch' },
  flood: { userId: 'flood' },
  limited: { userId: 'limited', limits: { requestsPerMinute: LIMITED_REQUESTS, tokensPerMinute: 4000 } },
  leased: { userId: 'leased', limits: { maxConcurrent: LEASES } },
  proxy: { mayActForOthers: true, limits: { requestsPerMinute: 20 } },
  admin: { userId: 'admin', priority: 'interactive' },
};

/** Writes a key for each of them. @returns the `Authorization` of each. */
export async function makeKeys(file: string): Promise<Readonly<Record<KeyHolder, string>>> {
  const authorizations: Partial<Record<KeyHolder, string>> = {};
  for (const [holder, grant] of Object.entries(GRANTS) as [KeyHolder, ApiKeyGrant][]) {
    const { key } = await addApiKey(file, holder, grant);
    authorizations[holder] = `Bearer ${key}`;
  }
  return authorizations as Record<KeyHolder, string>;
}
