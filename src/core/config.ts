import { z } from 'zod';
import { LlameroError } from './errors.ts';
import { ALERT_NAMES } from './events.ts';

/**
 * The one schema of llamero's configuration: types, defaults, validation, JSON Schema and documentation all come from
 * it. The same object configures `llamero serve` (file, environment, flags) and `new LlamaCppProvider(options)`.
 * Durations are milliseconds; memory limits are MB, as operators write them.
 */

const milliseconds = (description: string) =>
  z.number().int().min(0).max(2_147_483_647).describe(`${description} (ms)`);
const positiveMilliseconds = (description: string) => milliseconds(description).min(1);
const network = z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()]);
const port = z.number().int().min(0).max(65535);

const engine = z.strictObject({
  command: z
    .string()
    .min(1)
    .default('auto')
    .describe("Path of llama-server, or 'auto': LLAMA_SERVER_PATH, PATH, llamero's cache, install"),
  transport: z
    .enum(['unix', 'tcp'])
    .default(process.platform === 'win32' ? 'tcp' : 'unix')
    .describe('How llamero reaches the engine: a UNIX socket in a private directory, or a loopback TCP port'),
  port: z
    .union([z.literal('auto'), port.min(1)])
    .default('auto')
    .describe('TCP port of the engine; only with transport tcp'),
  parallel: z.number().int().min(1).max(256).default(4).describe('Slots: requests that the engine decodes at once'),
  ctxSize: z.number().int().min(64).max(16_777_216).default(4096).describe('Context length of one slot, in tokens'),
  args: z.array(z.string()).default([]).describe('Further options, handed to llama-server as they are'),
  startupTimeout: positiveMilliseconds('A start fails after this long without any progress of the load').default(
    120_000,
  ),
  memoryLimit: z
    .union([z.literal('auto'), z.number().int().min(16)])
    .default('auto')
    .describe('MB of anonymous memory per engine; at the limit it is drained and replaced'),
  drainTimeout: milliseconds(
    'How long requests may go on at an engine that is being replaced; what is left then goes on at the next one',
  ).default(30_000),
  restart: z
    .strictObject({
      maxRestarts: z
        .number()
        .int()
        .min(0)
        .max(1000)
        .default(5)
        .describe('Crashes within the window before the engine counts as failed'),
      window: positiveMilliseconds('The window in which crashes are counted').default(60_000),
      delay: milliseconds('Delay before the second restart within the window; the first comes at once').default(200),
      backoffMultiplier: z
        .number()
        .min(1)
        .max(100)
        .default(2)
        .describe('Factor by which the delay grows with each crash in the window'),
      maxDelay: milliseconds('Longest delay between restarts; also the pace of retries once failed').default(30_000),
    })
    .prefault({}),
});

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
const share = (description: string) =>
  z
    .number()
    .min(0)
    .max(0.9)
    .describe(`Least part of the engine that ${description} get while they have requests waiting`);

const gateway = z.strictObject({
  host: z.string().min(1).default('127.0.0.1').describe('Address to listen on'),
  port: z
    .union([z.literal('auto'), port])
    .default(8080)
    .describe("Port to listen on; 'auto' or 0 asks for any free one"),
  apiKeyFile: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('File of hashed API keys, written by `llamero keys add`'),
  trustedProxies: z
    .array(
      z.string().refine((text) => network.safeParse(text).success, 'an IP address or a CIDR range such as 10.0.0.0/8'),
    )
    .default([])
    .describe('Addresses or CIDR ranges whose X-Forwarded-For, X-User-Id and X-Session-Id are believed'),
  bodyLimit: z
    .number()
    .int()
    .min(1024)
    .max(1_073_741_824)
    .default(16_777_216)
    .describe('Largest request body, in bytes'),
  corsOrigins: z.array(z.string()).default([]).describe("Origins that browsers may call from; '*' for any"),
  allowRemoteMedia: z
    .boolean()
    .default(false)
    .describe('Whether a request may name http(s) addresses of images that the engine then fetches'),
  drainTimeout: milliseconds('How long running requests may go on after SIGTERM').default(30_000),
});

const traces = z.strictObject({
  endpoint: z
    .url({ protocol: /^https?$/ })
    .nullable()
    .default(null)
    .describe('Collector that spans are sent to, such as http://localhost:4318/v1/traces; null: no traces'),
  protocol: z.enum(['http/protobuf']).default('http/protobuf').describe('OTLP as the collector understands it'),
  sampleRatio: z.number().min(0).max(1).default(1).describe('Part of the traces that begin here and are sampled'),
  followParent: z
    .boolean()
    .default(true)
    .describe("Whether a caller's traceparent decides if its request is sampled; if not, sampleRatio does for all"),
  serviceName: z.string().min(1).nullable().default(null).describe("service.name of the spans; null: 'llamero'"),
  exportInterval: positiveMilliseconds('How long spans are gathered before they are sent').default(5_000),
});

const alertRule = z.strictObject({
  enabled: z.boolean().optional().describe('Whether the alert is looked for at all; default true'),
  threshold: z.number().min(0).optional().describe('What its value must exceed; of the alerts that have a threshold'),
  for: milliseconds('How long its symptom must last before it fires').optional(),
  window: positiveMilliseconds('The time that is looked back upon; of the alerts that look back').optional(),
});

/** Where what the configuration says is quoted by no message: the address of a webhook often is what lets in. */
const SECRET_PATH = /^alerts\.webhook\b/;

const alerts = z.strictObject({
  enabled: z.boolean().default(true).describe('Whether `llamero serve` looks for alerts itself'),
  interval: positiveMilliseconds('How often alerts are evaluated').min(50).default(15_000),
  rules: z
    .partialRecord(z.enum(ALERT_NAMES), alertRule)
    .default({})
    .describe('What is different from docs/alerts.md, by name of the alert'),
  runbook: z
    .string()
    .min(1)
    .default('docs/runbook.md')
    .describe('Address of the runbook; `#` and the name of the alert in lower case follow it'),
  webhook: z
    .strictObject({
      url: z
        .url({ protocol: /^https?$/ })
        .nullable()
        .default(null)
        .describe('Where alerts are sent that fire or are resolved; null: nowhere'),
      secretFile: z
        .string()
        .min(1)
        .nullable()
        .default(null)
        .describe('File of the secret that signs them; LLAMERO_ALERTS_WEBHOOK_SECRET instead of it; neither: unsigned'),
      timeout: positiveMilliseconds('How long the receiver may take to answer').default(5_000),
      retryDelay: positiveMilliseconds('Delay before the second try; it doubles with each').default(1_000),
      maxDelay: positiveMilliseconds('Longest delay between two tries').default(60_000),
      deadline: positiveMilliseconds('A message that could not be delivered for this long is given up').default(
        900_000,
      ),
      maxQueue: z
        .number()
        .int()
        .min(1)
        .max(10_000)
        .default(100)
        .describe('Messages that may wait; beyond that the oldest is dropped'),
    })
    .prefault({}),
});

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
  engine: engine.prefault({}),
  maxConcurrentRequests: z
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(10)
    .describe('Requests at the engine at once; never more than slots'),
  maxQueue: z.number().int().min(0).max(1_000_000).default(100).describe('Requests that may wait for a slot'),
  requestTimeout: positiveMilliseconds('Whole non-streaming request').default(60_000),
  timeouts: z
    .strictObject({
      queue: positiveMilliseconds('Waiting for a slot or for the engine to become ready').default(30_000),
      connect: positiveMilliseconds('Reaching the engine').default(5_000),
      firstToken: positiveMilliseconds('Silence before the first token; progress of the prompt counts as life').default(
        60_000,
      ),
      idle: positiveMilliseconds('Silence between tokens').default(30_000),
      total: positiveMilliseconds('A whole stream; null: no limit').nullable().default(null),
    })
    .prefault({}),
  streamContinuation: z
    .enum(['fast', 'exact', 'off'])
    .default('fast')
    .describe('How a stream goes on whose engine was lost: soon; only where the answer stays the same; or not at all'),
  streamResume: z
    .strictObject({
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
    })
    .prefault({}),
  memoryLimit: z
    .number()
    .int()
    .min(64)
    .default(2048)
    .describe("MB for llamero's own process; new requests are refused near it"),
  rateLimit: z
    .strictObject({
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
    })
    .prefault({}),
  fairness: z
    .strictObject({
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
    })
    .prefault({}),
  cleanup: z
    .strictObject({
      interval: positiveMilliseconds('How often state of absent clients is looked through').default(300_000),
      maxAge: positiveMilliseconds('How long state of an absent client is kept').default(600_000),
    })
    .prefault({}),
  retry: z
    .strictObject({
      maxRetries: z.number().int().min(0).max(100).default(3),
      retryDelay: milliseconds('Delay before the first retry').default(1000),
      backoffMultiplier: z.number().min(1).max(100).default(2),
      retryableErrors: z.array(z.string()).default(['ECONNREFUSED', 'ETIMEDOUT', '503']),
    })
    .prefault({}),
  circuitBreaker: z
    .strictObject({
      failureThreshold: z.number().int().min(1).default(5),
      resetTimeout: positiveMilliseconds('How long the breaker stays open').default(30_000),
      halfOpenRequests: z.number().int().min(1).default(2),
    })
    .prefault({}),
  gateway: gateway.prefault({}),
  telemetry: z
    .strictObject({
      traces: traces.prefault({}),
      genAi: z
        .boolean()
        .default(false)
        .describe('Metrics under the names of the OpenTelemetry conventions for generative AI as well (gen_ai_*)'),
    })
    .prefault({}),
  alerts: alerts.prefault({}),
  log: z
    .strictObject({
      level: z
        .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
        .default('info')
        .describe('Least level that is logged'),
      format: z.enum(['auto', 'pretty', 'json']).default('auto').describe('auto: pretty on a terminal, JSON elsewhere'),
    })
    .prefault({}),
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
  const problems = result.error.issues.flatMap((issue) => describeIssue(issue));
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

interface Problem {
  path: string;
  text: string;
}

function describeIssue(issue: z.core.$ZodIssue): Problem[] {
  const path = pathOf(issue.path);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const full = path === '' ? key : `${path}.${key}`;
      return { path: full, text: `${full}: unknown key` };
    });
  }
  const came = SECRET_PATH.test(path) ? 'what is not shown' : show(issue.input);
  const expected =
    issue.code === 'invalid_union'
      ? `expected ${issue.errors.flatMap((branch) => branch.map((inner) => expectation(inner))).join(' or ')}`
      : expectation(issue);
  return [
    {
      path,
      text: `${path || '(root)'}: ${expected.startsWith('expected') ? expected : `expected ${expected}`}, came ${came}`,
    },
  ];
}

function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.expected === 'int' ? 'a whole number' : `a ${issue.expected}`;
    case 'invalid_value':
      return issue.values.map((value) => JSON.stringify(value)).join(' or ');
    case 'too_small':
      return issue.origin === 'string' ? 'a text that is not empty' : `at least ${issue.minimum}`;
    case 'too_big':
      return `at most ${issue.maximum}`;
    default:
      return issue.message.replace(/^Invalid input: expected /, '');
  }
}

function pathOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? String(key) : `${text}.${String(key)}`),
    '',
  );
}

function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
