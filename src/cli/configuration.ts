import { parseConfig } from '../core/config.ts';
import type { Config } from '../core/config.ts';
import { LlameroError } from '../core/errors.ts';
import { alertRules } from '../telemetry/alerts/alert-rules.ts';
import { chooseConfigurationFile, readConfigurationFile } from './configuration-file.ts';
import type { ConfigurationFile } from './configuration-file.ts';
import { readOptionValue, SERVE_OPTIONS } from './serve-options.ts';
import { tracingSettings } from './tracing-environment.ts';

/** Where configuration may come from, before anything is merged or validated. */
export interface ConfigurationSources {
  /** Flags as they were typed, by name without dashes; the positional model as `model`. */
  readonly flags: Readonly<Record<string, string | undefined>>;
  readonly env: NodeJS.ProcessEnv;
  readonly file: ConfigurationFile | null;
  /** What follows `--` on the command line: goes to llama-server after the file's `engine.args`, so that it wins. */
  readonly engineArgs: readonly string[];
}

/** The configuration that results, and where its values came from. */
export interface Configuration {
  readonly config: Config;
  /** Where a key was set, such as `--port`, `LLAMERO_PORT` or `llamero.yaml:7`; null: it has its default. */
  readonly origin: (key: string) => string | null;
  /** The file that was read. */
  readonly fileName: string | null;
}

/**
 * Merges flags, environment and file, in this order of precedence, over the defaults. Pure.
 * @throws LlameroError `invalid_options`: every problem, each with the place it came from.
 */
export function mergeConfiguration(sources: ConfigurationSources): Configuration {
  const origins = new Map<string, string>();
  const { file } = sources;
  if (file !== null && !isSection(file.content)) parseConfig(file.content, file.name);
  const merged = structuredClone(file?.content ?? {}) as Record<string, unknown>;
  const set = (key: string, value: unknown, from: string) => {
    setKey(merged, key, value);
    origins.set(key, from);
  };
  for (const { key, value, from } of environmentSettings(sources.env)) set(key, value, from);
  for (const option of SERVE_OPTIONS) {
    const text = sources.flags[option.flag ?? 'model'];
    if (text === undefined) continue;
    set(option.key, readOptionValue(option, text), option.flag === null ? option.placeholder : `--${option.flag}`);
  }
  if (sources.engineArgs.length > 0) {
    const before = getKey(merged, 'engine.args');
    set('engine.args', [...(Array.isArray(before) ? before : []), ...sources.engineArgs], 'the options after --');
  }
  const origin = (key: string): string | null => {
    const named = origins.get(key.replace(/\[\d+\]$/, ''));
    if (named !== undefined) return named;
    return file !== null && getKey(file.content, key) !== undefined ? file.locate(key) : null;
  };
  return { config: parseWithOrigins(merged, origin), origin, fileName: file?.name ?? null };
}

/** Reads the file that applies (`--config`, `LLAMERO_CONFIG`, `./llamero.yaml`) and merges everything. */
export function loadConfiguration(options: {
  flags: Readonly<Record<string, string | undefined>>;
  env: NodeJS.ProcessEnv;
  cwd: string;
  engineArgs?: readonly string[];
}): Configuration {
  const { flags, env, cwd, engineArgs = [] } = options;
  const path = chooseConfigurationFile(flags['config'] ?? filled(env['LLAMERO_CONFIG']), cwd);
  const file = path === null ? null : readConfigurationFile(path, cwd);
  return mergeConfiguration({ flags, env, file, engineArgs });
}

interface Setting {
  key: string;
  value: unknown;
  from: string;
}

/** The address is a secret often, which stands in the environment rather than in a file. The secret itself is no configuration. */
const WEBHOOK_VARIABLES = [
  ['LLAMERO_ALERTS_WEBHOOK_URL', 'alerts.webhook.url'],
  ['LLAMERO_ALERTS_WEBHOOK_SECRET_FILE', 'alerts.webhook.secretFile'],
] as const;

/** Later settings win over earlier ones: LOG_LEVEL < LLAMA_DEBUG < LLAMERO_LOG_LEVEL. */
function environmentSettings(env: NodeJS.ProcessEnv): Setting[] {
  const settings: Setting[] = tracingSettings(env);
  const general = filled(env['LOG_LEVEL']);
  if (general !== undefined) settings.push({ key: 'log.level', value: general.toLowerCase(), from: 'LOG_LEVEL' });
  if (env['LLAMA_DEBUG'] === 'true') settings.push({ key: 'log.level', value: 'trace', from: 'LLAMA_DEBUG' });
  for (const [from, key] of WEBHOOK_VARIABLES) {
    const value = filled(env[from]);
    if (value !== undefined) settings.push({ key, value, from });
  }
  for (const option of SERVE_OPTIONS) {
    const text = filled(env[option.environment]);
    if (text === undefined) continue;
    settings.push({ key: option.key, value: readOptionValue(option, text), from: option.environment });
  }
  return settings;
}

/** An empty variable counts as one that is not set, as shells and compose files write it. */
function filled(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : text;
}

function parseWithOrigins(input: unknown, origin: (key: string) => string | null): Config {
  try {
    const config = parseConfig(input);
    // What only the table of alerts knows.
    alertRules(config.alerts.rules);
    return config;
  } catch (error) {
    if (!(error instanceof LlameroError) || !Array.isArray(error.details['problems'])) throw error;
    const problems = error.details['problems'].map((problem: unknown) => {
      const text = String(problem);
      const from = origin(text.slice(0, text.indexOf(': ')));
      return from === null ? text : `${text} (from ${from})`;
    });
    throw new LlameroError(
      'invalid_options',
      `Invalid configuration:\n${problems.map((text) => `  ${text}`).join('\n')}`,
      { param: error.param, details: { problems }, cause: error },
    );
  }
}

function getKey(value: unknown, key: string): unknown {
  return key
    .split(/[.[\]]+/)
    .filter((part) => part !== '')
    .reduce<unknown>(
      (node, part) =>
        typeof node === 'object' && node !== null && Object.hasOwn(node, part)
          ? (node as Record<string, unknown>)[part]
          : undefined,
      value,
    );
}

/** Sets a key, making sections on the way; what is no section is left alone, for the schema to refuse. */
function setKey(target: Record<string, unknown>, key: string, value: unknown): void {
  const parts = key.split('.');
  const last = parts.pop() ?? key;
  let node = target;
  for (const part of parts) {
    const next = (node[part] ??= {});
    if (!isSection(next)) return;
    node = next;
  }
  node[last] = value;
}

function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
