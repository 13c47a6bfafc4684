import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { LlameroError } from '../../core/errors.ts';

interface StatusOptions {
  url: string;
  apiKeyFile?: string;
  json?: boolean;
}

/** How long a gateway may take to tell its state, in ms. */
const TIMEOUT_MS = 5000;

/** `llamero status`: what a running gateway says about itself. */
export function statusCommand(): Command {
  return new Command('status')
    .description('state of a running gateway')
    .option('--url <url>', 'address of the gateway', 'http://127.0.0.1:8080')
    .option('--api-key-file <file>', 'file that holds an API key as it was given out; or LLAMERO_API_KEY')
    .option('--json', 'print the answer as it came')
    .action(async (options: StatusOptions) => {
      const status = await fetchStatus(options.url, readKey(options.apiKeyFile, process.env));
      process.stdout.write(options.json === true ? `${JSON.stringify(status, null, 2)}\n` : describeState(status));
    })
    .addHelpText(
      'after',
      `
Examples:
  llamero status
  llamero status --url http://10.0.0.5:8080 --api-key-file ./my.key --json`,
    );
}

/** The state for people: the alerts that fire come first, one line each, instead of all that is known of alerts. */
export function describeState(status: Record<string, unknown>): string {
  const { alerts, ...rest } = status;
  if (alerts === undefined || alerts === null) return describeStatus(status);
  const firing = isRecord(alerts) && Array.isArray(alerts['firing']) ? alerts['firing'].filter(isRecord) : [];
  const lines = firing.map(
    ({ severity, name, description, since }) =>
      `  ${showValue(severity)} ${showValue(name)}: ${showValue(description)} Since ${showValue(since)}\n`,
  );
  return (lines.length === 0 ? 'alerts: none\n' : `alerts:\n${lines.join('')}`) + describeStatus(rest);
}

/** The state as indented `key: value` lines; lists of plain values stand in one line. */
export function describeStatus(status: unknown, indent = ''): string {
  if (!isRecord(status)) return `${indent}${showValue(status)}\n`;
  const width = Math.max(...Object.keys(status).map((key) => key.length)) + 1;
  return Object.entries(status)
    .map(([key, value]) => {
      if (isRecord(value)) return `${indent}${key}:\n${describeStatus(value, `${indent}  `)}`;
      if (Array.isArray(value) && value.some((item) => isRecord(item))) {
        return `${indent}${key}:\n${value.map((item) => describeStatus(item, `${indent}  `)).join('\n')}`;
      }
      return `${indent}${`${key}:`.padEnd(width)} ${showValue(value)}\n`;
    })
    .join('');
}

async function fetchStatus(base: string, key: string | null): Promise<Record<string, unknown>> {
  if (!URL.canParse(base)) {
    throw new LlameroError('invalid_options', `--url: expected an address such as http://127.0.0.1:8080, came ${base}`);
  }
  const url = new URL('/admin/status', base);
  const headers: Record<string, string> = key === null ? {} : { authorization: `Bearer ${key}` };
  let response: Response;
  try {
    response = await fetch(url, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    throw unreachable(base, error);
  }
  if (response.status === 401 || response.status === 403) {
    throw new LlameroError(
      'invalid_api_key',
      `The gateway at ${base} wants an API key: name a file with --api-key-file, or set LLAMERO_API_KEY.`,
    );
  }
  let body: unknown = null;
  try {
    body = await response.json();
  } catch {
    // No JSON: something else than a gateway answers there, which is told below.
  }
  if (!response.ok || !isRecord(body)) {
    throw new LlameroError(
      'engine_bad_response',
      `${url.href} answered ${response.status}: is that a llamero gateway?`,
    );
  }
  return body;
}

function unreachable(base: string, cause: unknown): LlameroError {
  const reason = cause instanceof Error && cause.name === 'TimeoutError' ? 'does not answer' : 'cannot be reached';
  return new LlameroError(
    'engine_unavailable',
    `The gateway at ${base} ${reason}. Start one with \`llamero serve\`, or name another address with --url.`,
    { cause },
  );
}

/** The API key in a file, else the one of `LLAMERO_API_KEY`; null: none. */
export function readKey(file: string | undefined, env: NodeJS.ProcessEnv): string | null {
  if (file === undefined) return env['LLAMERO_API_KEY'] || null;
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new LlameroError('invalid_options', `--api-key-file: cannot read ${file}`, { cause: error });
  }
}

function showValue(value: unknown): string {
  if (value === null || value === undefined) return '-';
  if (Array.isArray(value)) return value.map((item) => showValue(item)).join(', ') || '-';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
