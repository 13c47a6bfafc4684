import { z } from 'zod';
import { alertsSchema } from './config/alerts-schema.ts';
import { cleanupSchema, fairnessSchema, rateLimitSchema } from './config/client-schema.ts';
import { configProblems } from './config/config-problems.ts';
import { engineSchema } from './config/engine-schema.ts';
import { gatewaySchema } from './config/gateway-schema.ts';
import { circuitBreakerSchema, retrySchema, streamResumeSchema, timeoutsSchema } from './config/resilience-schema.ts';
import { logSchema, telemetrySchema } from './config/telemetry-schema.ts';
import { positiveMilliseconds } from './config/value-schemas.ts';
import { LlameroError } from './errors.ts';

export { clientLimitsSchema } from './config/client-schema.ts';

/**
 * The one schema of llamero's configuration: types, defaults, validation, JSON Schema and documentation all come from
 * it. The same object configures `llamero serve` (file, environment, flags) and `new LlamaCppProvider(options)`.
 * Durations are milliseconds; memory limits are MB, as operators write them. Its parts stand in `config/`; everybody
 * else imports from here.
 */

/** The schema; parse through {@link parseConfig}, which turns its complaints into one readable error. */
export const configSchema = z.strictObject({
  profile: z
    .enum(['auto', 'local', 'production'])
    .default('auto')
    .describe(
      'local: no rate limits and no whole-request limit; production: as configured; auto: production when bound beyond loopback',
    ),
  model: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('GGUF path, https address or Hugging Face name user/repo[:quant]; none: the built-in tiny model'),
  engineUrl: z
    .url({ protocol: /^https?$/ })
    .nullable()
    .default(null)
    .describe('Attach to a llama-server that someone else runs'),
  engine: engineSchema.prefault({}),
  maxConcurrentRequests: z
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(10)
    .describe('Requests at the engine at once; never more than slots'),
  maxQueue: z.number().int().min(0).max(1_000_000).default(100).describe('Requests that may wait for a slot'),
  requestTimeout: positiveMilliseconds('Whole non-streaming request').default(60_000),
  timeouts: timeoutsSchema.prefault({}),
  streamContinuation: z
    .enum(['fast', 'exact', 'off'])
    .default('fast')
    .describe('How a stream goes on whose engine was lost: soon; only where the answer stays the same; or not at all'),
  streamResume: streamResumeSchema.prefault({}),
  memoryLimit: z
    .number()
    .int()
    .min(64)
    .default(2048)
    .describe("MB for llamero's own process; new requests are refused near it"),
  rateLimit: rateLimitSchema.prefault({}),
  fairness: fairnessSchema.prefault({}),
  cleanup: cleanupSchema.prefault({}),
  retry: retrySchema.prefault({}),
  circuitBreaker: circuitBreakerSchema.prefault({}),
  gateway: gatewaySchema.prefault({}),
  telemetry: telemetrySchema.prefault({}),
  alerts: alertsSchema.prefault({}),
  log: logSchema.prefault({}),
});

/** A complete configuration, all defaults filled in. */
export type Config = z.output<typeof configSchema>;
/** What a caller may write: every key optional. */
export type ConfigInput = z.input<typeof configSchema>;
/** The engine part of a {@link Config}. */
export type EngineConfig = Config['engine'];
/** The gateway part of a {@link Config}. */
export type GatewayConfig = Config['gateway'];

/**
 * Validates and fills in defaults. `source` names where the input came from and opens the message.
 * @throws LlameroError `invalid_options`, with every problem: the key's path, what was expected and what came.
 */
export function parseConfig(input: unknown, source = 'configuration'): Config {
  const result = configSchema.safeParse(input, { reportInput: true });
  if (result.success) return isProduction(result.data) ? result.data : withoutDefaultLimits(result.data, input);
  const problems = configProblems(result.error);
  throw new LlameroError(
    'invalid_options',
    `Invalid ${source}:\n${problems.map((problem) => `  ${problem.text}`).join('\n')}`,
    {
      param: problems[0]?.path,
      details: { problems: problems.map((problem) => problem.text) },
    },
  );
}

/** Whether the limits for production hold: when asked for, and by itself as soon as others than this machine can connect. */
export function isProduction(config: Pick<Config, 'profile' | 'gateway'>): boolean {
  return config.profile === 'auto' ? !isLoopbackHost(config.gateway.host) : config.profile === 'production';
}

function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(host);
}

/** On one's own machine the limits that nobody wrote down do not hold; those that somebody did do. */
function withoutDefaultLimits(config: Config, input: unknown): Config {
  const written = (input as ConfigInput | undefined)?.rateLimit ?? {};
  const rateLimit = { ...config.rateLimit };
  if (written.requestsPerMinute === undefined) rateLimit.requestsPerMinute = null;
  if (written.requestsPerHour === undefined) rateLimit.requestsPerHour = null;
  return { ...config, rateLimit };
}

/** The JSON Schema of the configuration file, for editors and for `llamero config schema`. */
export function configJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(configSchema, { io: 'input', target: 'draft-2020-12' });
}
