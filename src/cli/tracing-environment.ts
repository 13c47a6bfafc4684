/**
 * The environment variables that all of OpenTelemetry knows (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/),
 * as settings of `telemetry.traces`. Headers, certificates, compression (`OTEL_EXPORTER_OTLP_*`) and `OTEL_RESOURCE_ATTRIBUTES`
 * are read by the SDK itself.
 */

/** One key of the configuration, as a variable sets it. */
interface Setting {
  readonly key: string;
  readonly value: unknown;
  readonly from: string;
}

const DEFAULT_ENDPOINT = 'http://localhost:4318/v1/traces';

/** What the variables set; what makes no sense is left for the schema to refuse by name. Pure. */
export function tracingSettings(env: NodeJS.ProcessEnv): Setting[] {
  return [...endpointSettings(env), ...samplerSettings(env), ...otherSettings(env)];
}

function endpointSettings(env: NodeJS.ProcessEnv): Setting[] {
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return [endpoint(null, 'OTEL_SDK_DISABLED')];
  const exporter = env['OTEL_TRACES_EXPORTER'];
  if (exporter === 'none') return [endpoint(null, 'OTEL_TRACES_EXPORTER')];
  const own = env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];
  const shared = env['OTEL_EXPORTER_OTLP_ENDPOINT'];
  const settings = protocolSettings(env);
  if (own) return [endpoint(own, 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'), ...settings];
  if (shared) return [endpoint(`${shared.replace(/\/$/, '')}/v1/traces`, 'OTEL_EXPORTER_OTLP_ENDPOINT'), ...settings];
  return exporter === 'otlp' ? [endpoint(DEFAULT_ENDPOINT, 'OTEL_TRACES_EXPORTER'), ...settings] : [];
}

function endpoint(value: string | null, from: string): Setting {
  return { key: 'telemetry.traces.endpoint', value, from };
}

function protocolSettings(env: NodeJS.ProcessEnv): Setting[] {
  const from = ['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL'].find((name) => env[name]);
  return from === undefined ? [] : [{ key: 'telemetry.traces.protocol', value: env[from], from }];
}

/** `parentbased_traceidratio` and the like: whether a parent decides, and how many are sampled without one. */
function samplerSettings(env: NodeJS.ProcessEnv): Setting[] {
  const sampler = env['OTEL_TRACES_SAMPLER'];
  if (!sampler) return [];
  const from = 'OTEL_TRACES_SAMPLER';
  const followParent = sampler.startsWith('parentbased_');
  const kind = sampler.replace(/^parentbased_/, '');
  const ratio = { key: 'telemetry.traces.sampleRatio', from };
  const follow = { key: 'telemetry.traces.followParent', value: followParent, from };
  if (kind === 'always_on') return [follow, { ...ratio, value: 1 }];
  if (kind === 'always_off') return [follow, { ...ratio, value: 0 }];
  if (kind !== 'traceidratio') return [{ ...ratio, value: sampler }];
  return [
    follow,
    { ...ratio, value: numberOf(env['OTEL_TRACES_SAMPLER_ARG'] || '1'), from: 'OTEL_TRACES_SAMPLER_ARG' },
  ];
}

function otherSettings(env: NodeJS.ProcessEnv): Setting[] {
  const settings: Setting[] = [];
  const name = env['OTEL_SERVICE_NAME'];
  if (name) settings.push({ key: 'telemetry.traces.serviceName', value: name, from: 'OTEL_SERVICE_NAME' });
  const delay = env['OTEL_BSP_SCHEDULE_DELAY'];
  if (delay) {
    settings.push({ key: 'telemetry.traces.exportInterval', value: numberOf(delay), from: 'OTEL_BSP_SCHEDULE_DELAY' });
  }
  return settings;
}

function numberOf(text: string): number | string {
  return /^-?(\d+\.?\d*|\.\d+)(e-?\d+)?$/i.test(text) ? Number(text) : text;
}
