import { readFileSync } from 'node:fs';
import os from 'node:os';
import { stringify } from 'yaml';
import { LlameroError } from '../../core/errors.ts';
import { packageVersion } from '../../gateway/package-version.ts';
import { chooseConfigurationFile, readConfigurationFile } from '../configuration-file.ts';
import { loadConfiguration } from '../configuration.ts';
import { doctorChecks } from '../doctor/doctor-checks.ts';
import type { DoctorFacts } from '../doctor/doctor-facts.ts';
import { gatherFacts } from '../doctor/gather-facts.ts';
import type { ProgressReport } from '../progress.ts';
import {
  createRedactor,
  HIDDEN,
  isSecretVariable,
  redactDeep,
  type Redactor,
  secretsOfAddress,
  secretsOfConfiguration,
  secretsOfEnvironment,
} from './redact.ts';
import { askGateway, type Told } from './running-gateway.ts';

/** What {@link bundleFiles} goes by. */
export interface BundleOptions {
  /** A configuration file on the command line. */
  readonly config?: string;
  /** Address of a gateway that may run. */
  readonly url: string;
  /** An API key for it. */
  readonly key: string | null;
  /** A file with llamero's log, in its JSON format. */
  readonly logFile?: string;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly signal: AbortSignal;
  readonly onProgress: (report: ProgressReport) => void;
}

/** One file of the bundle; secrets are out of its text. */
export interface BundleFile {
  readonly name: string;
  readonly text: string;
  /** What it holds, for whoever looks through it. */
  readonly about: string;
}

/** Lines of a log file that are taken, the last ones. */
const LOG_LINES = 1000;
/** Variables that matter to llamero, its engine, and how both are started. */
const RELEVANT_VARIABLE =
  /^(LLAMERO_|LLAMA_|GGML_|HF_|OTEL_|NODE_|CUDA_|HIP_|ROCR_|OMP_|XDG_|LOG_LEVEL$|TMPDIR$|PATH$|LANG$)/;

/** Everything that a maintainer needs, with the secrets taken out. Finds what is there; what is not there is said. */
export async function bundleFiles(options: BundleOptions): Promise<BundleFile[]> {
  const { env, url, key } = options;
  const raw = rawConfiguration(options);
  const redact = createRedactor(
    [
      ...secretsOfEnvironment(env),
      ...secretsOfConfiguration(raw),
      ...secretsOfAddress(url),
      ...(key === null ? [] : [key]),
    ],
    [os.homedir(), env['HOME'] ?? '', env['USERPROFILE'] ?? ''],
  );
  const facts = withoutValues(await gatherFacts(options));
  const json = (value: unknown) => `${JSON.stringify(redactDeep(value, redact), null, 2)}\n`;
  const told = (answer: Told) => (answer.ok ? redact(answer.text) : `${redact(answer.message)}\n`);
  const ask = (path: string) => askGateway(url, path, key);
  const files: BundleFile[] = [
    { name: 'versions.json', text: json(versions(facts)), about: 'llamero, Node, system, processor, llama-server' },
    {
      name: 'configuration.yaml',
      text: configuration(options, redact),
      about: 'as `llamero serve` would take it here',
    },
    { name: 'environment.json', text: json(environment(env)), about: 'variables that matter to llamero' },
    { name: 'doctor.json', text: json({ checks: doctorChecks(facts), facts }), about: 'what `llamero doctor` found' },
    { name: 'gateway/status.json', text: told(await ask('/admin/status')), about: 'state of the running gateway' },
    { name: 'gateway/metrics.txt', text: told(await ask('/metrics')), about: 'its metrics' },
    ...gatewayLogs(await ask('/admin/debug/log'), redact),
  ];
  if (options.logFile !== undefined) {
    files.push({ name: 'log.jsonl', text: redact(logLines(options.logFile)), about: `the end of ${options.logFile}` });
  }
  return files;
}

/** The configuration file before it is validated: its secrets must be known even if it is not valid. */
function rawConfiguration({ config, env, cwd }: BundleOptions): unknown {
  try {
    const file = chooseConfigurationFile(config ?? (env['LLAMERO_CONFIG'] || undefined), cwd);
    return file === null ? null : readConfigurationFile(file, cwd).content;
  } catch (error) {
    // The doctor tells of it; nothing of a file that cannot be read gets into the bundle.
    if (error instanceof LlameroError) return null;
    throw error;
  }
}

function configuration({ config, env, cwd }: BundleOptions, redact: Redactor): string {
  try {
    const loaded = loadConfiguration({ flags: { config }, env, cwd });
    const source = loaded.fileName === null ? 'no file, environment and defaults' : loaded.fileName;
    return redact(`# ${source}\n`) + stringify(redactDeep(loaded.config, redact));
  } catch (error) {
    if (!(error instanceof LlameroError)) throw error;
    return `# invalid\n${redact(withoutValue(error.message))}\n`;
  }
}

/** A message about wrong configuration quotes the beginning of what came, which may be a part of a secret. */
function withoutValue(message: string): string {
  return message.replaceAll(/(, came |Unresolved ).*$/gm, `$1${HIDDEN}`);
}

function withoutValues(facts: DoctorFacts): DoctorFacts {
  const { configuration: found } = facts;
  return found.ok ? facts : { ...facts, configuration: { ok: false, message: withoutValue(found.message) } };
}

function versions({ engine, machine }: DoctorFacts): Record<string, unknown> {
  return {
    llamero: packageVersion(),
    node: process.versions,
    system: { platform: process.platform, arch: process.arch, release: os.release(), version: os.version() },
    processor: { model: os.cpus()[0]?.model ?? null, cores: machine.cores },
    memory: machine.memory,
    llamaServer: engine !== null && engine.ok ? engine.value : (engine?.message ?? 'attached: someone else runs it'),
    made: new Date().toISOString(),
  };
}

function environment(env: NodeJS.ProcessEnv): Record<string, string> {
  const relevant = Object.entries(env).filter(([name]) => RELEVANT_VARIABLE.test(name));
  return Object.fromEntries(
    relevant
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value = '']) => [name, isSecretVariable(name) && value !== '' ? HIDDEN : value]),
  );
}

function gatewayLogs(answer: Told, redact: Redactor): BundleFile[] {
  const about = 'last lines of its log, level info and above';
  if (!answer.ok) return [{ name: 'gateway/log.jsonl', text: `${redact(answer.message)}\n`, about }];
  const { lines, engine } = parseLines(answer.text);
  const text = (all: unknown) => redact(Array.isArray(all) ? all.map((line) => `${String(line)}\n`).join('') : '');
  return [
    { name: 'gateway/log.jsonl', text: text(lines), about },
    {
      name: 'gateway/engine-log.txt',
      text: text(engine),
      about: 'last lines of the engine, without those that may quote requests',
    },
  ];
}

function parseLines(text: string): { lines?: unknown; engine?: unknown } {
  try {
    return JSON.parse(text) as { lines?: unknown; engine?: unknown };
  } catch {
    // Something else than llamero answers there, which its status tells better.
    return {};
  }
}

/** The last records of level info and above: those below may trace requests, and lines for people cannot be told apart. */
function logLines(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new LlameroError('invalid_options', `--log-file: cannot read ${file}`, { cause: error });
  }
  const lines = text.split('\n').filter((line) => line !== '');
  const coarse = lines.filter((line) => /^\{"level":"(info|warn|error|fatal)"/.test(line)).slice(-LOG_LINES);
  return `${[...coarse, `(${lines.length - coarse.length} other lines left out)`].join('\n')}\n`;
}
