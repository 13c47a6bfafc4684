import { z } from 'zod';
import { milliseconds, positiveMilliseconds } from './value-schemas.ts';

/** `timeouts`: how long each phase of a request may last. */
export const timeoutsSchema = z.strictObject({
  queue: positiveMilliseconds('Waiting for a slot or for the engine to become ready').default(30_000),
  connect: positiveMilliseconds('Reaching the engine').default(5_000),
  firstToken: positiveMilliseconds('Silence before the first token; progress of the prompt counts as life').default(
    60_000,
  ),
  idle: positiveMilliseconds('Silence between tokens').default(30_000),
  total: positiveMilliseconds('A whole stream; null: no limit').nullable().default(null),
});

/** `streamResume`: streams that a client may come back to. */
export const streamResumeSchema = z.strictObject({
  enabled: z.boolean().default(true).describe('Whether clients may ask for streams that they can come back to'),
  maxAge: positiveMilliseconds('How long a stream waits for a client that lost its connection').default(60_000),
  bufferPerStream: z
    .number()
    .int()
    .min(4096)
    .max(1_073_741_824)
    .default(1_048_576)
    .describe('Bytes that are kept of one stream; half of them may be unread before the engine has to wait'),
  bufferTotal: z
    .number()
    .int()
    .min(4096)
    .default(67_108_864)
    .describe('Bytes that are kept of all streams; at the limit new ones cannot be come back to'),
});

/** `retry`: what is sent to the engine again. */
export const retrySchema = z.strictObject({
  maxRetries: z.number().int().min(0).max(100).default(3),
  retryDelay: milliseconds('Delay before the first retry').default(1000),
  backoffMultiplier: z.number().min(1).max(100).default(2),
  retryableErrors: z.array(z.string()).default(['ECONNREFUSED', 'ETIMEDOUT', '503']),
});

/** `circuitBreaker`: when requests are no longer sent to an engine that fails. */
export const circuitBreakerSchema = z.strictObject({
  failureThreshold: z.number().int().min(1).default(5),
  resetTimeout: positiveMilliseconds('How long the breaker stays open').default(30_000),
  halfOpenRequests: z.number().int().min(1).default(2),
});
