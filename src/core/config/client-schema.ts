import { z } from 'zod';
import { positiveMilliseconds } from './value-schemas.ts';

const limit = (description: string) => z.number().int().min(1).nullable().describe(`${description}; null: no limit`);
const limits = {
  requestsPerMinute: limit('Requests of one client per minute'),
  requestsPerHour: limit('Requests of one client per hour'),
  tokensPerMinute: limit('Prompt and completion tokens of one client per minute'),
  tokensPerDay: limit('Prompt and completion tokens of one client per day'),
  maxConcurrent: limit('Requests of one client in flight at once, waiting ones included'),
};
/** Limits of one client or of every client of one pool; what is left out is as configured above it. */
export const clientLimitsSchema = z.strictObject(limits).partial();

/** `rateLimit`: what one client may ask for. */
export const rateLimitSchema = z.strictObject({
  requestsPerMinute: limits.requestsPerMinute.default(60),
  requestsPerHour: limits.requestsPerHour.default(1000),
  tokensPerMinute: limits.tokensPerMinute.default(null),
  tokensPerDay: limits.tokensPerDay.default(null),
  maxConcurrent: limits.maxConcurrent.default(null),
  maxClients: z
    .number()
    .int()
    .min(1)
    .max(10_000_000)
    .default(10_000)
    .describe('Clients whose state is kept at once; the least recently seen goes first'),
  store: z
    .url({ protocol: /^(redis|rediss|valkey|valkeys)$/ })
    .nullable()
    .default(null)
    .describe('Valkey or Redis that several gateways share their limits in; null: in memory'),
  storeFailure: z
    .enum(['allow', 'refuse'])
    .default('allow')
    .describe('What happens to requests while the store cannot be reached'),
  pools: z
    .strictObject({
      user: clientLimitsSchema.prefault({}),
      session: clientLimitsSchema.prefault({}),
      ip: clientLimitsSchema.prefault({}),
      anonymous: clientLimitsSchema.prefault({}),
    })
    .prefault({}),
});

const share = (description: string) =>
  z
    .number()
    .min(0)
    .max(0.9)
    .describe(`Least part of the engine that ${description} get while they have requests waiting`);

/** `fairness`: what service counts, and how the classes of requests share the engine. */
export const fairnessSchema = z.strictObject({
  promptTokenWeight: z.number().min(0).max(100).default(1).describe('Service that one prompt token counts'),
  generatedTokenWeight: z.number().min(0).max(100).default(2).describe('Service that one generated token counts'),
  cachedTokenWeight: z
    .number()
    .min(0)
    .max(100)
    .default(0.1)
    .describe('Service that one prompt token counts which was found in the cache'),
  minimumShare: z
    .strictObject({
      default: share('requests of class default').default(0.2),
      batch: share('requests of class batch').default(0.05),
    })
    .refine((shares) => shares.default + shares.batch <= 0.9, { error: 'shares that are at most 0.9 together' })
    .prefault({}),
});

/** `cleanup`: how long absent clients are remembered. */
export const cleanupSchema = z.strictObject({
  interval: positiveMilliseconds('How often state of absent clients is looked through').default(300_000),
  maxAge: positiveMilliseconds('How long state of an absent client is kept').default(600_000),
});
