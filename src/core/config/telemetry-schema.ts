import { z } from 'zod';
import { positiveMilliseconds } from './value-schemas.ts';

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

/** `telemetry`: traces, and metrics under further names. */
export const telemetrySchema = z.strictObject({
  traces: traces.prefault({}),
  genAi: z
    .boolean()
    .default(false)
    .describe('Metrics under the names of the OpenTelemetry conventions for generative AI as well (gen_ai_*)'),
});

/** `log`: what is written while `llamero serve` runs. */
export const logSchema = z.strictObject({
  level: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
    .default('info')
    .describe('Least level that is logged'),
  format: z.enum(['auto', 'pretty', 'json']).default('auto').describe('auto: pretty on a terminal, JSON elsewhere'),
});
