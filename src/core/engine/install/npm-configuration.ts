import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';

/** npm's settings that concern fetching, under the names that npm's fetching library takes. */
export type NpmFetchOptions = Record<string, string | boolean>;

const SETTINGS: Record<string, string> = {
  registry: 'registry',
  proxy: 'proxy',
  'http-proxy': 'proxy',
  'https-proxy': 'httpsProxy',
  noproxy: 'noProxy',
  'strict-ssl': 'strictSSL',
  ca: 'ca',
  cafile: 'cafile',
  cache: 'cache',
};

/**
 * The user's npm settings that decide where and how packages are fetched: registry, credentials, proxy, certificates,
 * cache. As npm does, `npm_config_*` variables win over `./.npmrc`, and that over the user's `.npmrc`.
 */
export async function npmFetchOptions(env: NodeJS.ProcessEnv, directory: string): Promise<NpmFetchOptions> {
  const userConfig = env['npm_config_userconfig'] ?? path.join(env['HOME'] || homedir(), '.npmrc');
  const files = await Promise.all([userConfig, path.join(directory, '.npmrc')].map((file) => readText(file)));
  return Object.assign({}, ...files.map((text) => parseNpmrc(text, env)), fromEnvironment(env)) as NpmFetchOptions;
}

/** The settings of an `.npmrc` text that concern fetching; `${NAME}` is replaced from the environment. */
export function parseNpmrc(text: string, env: NodeJS.ProcessEnv): NpmFetchOptions {
  const options: NpmFetchOptions = {};
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*([^#;=\s][^=]*?)\s*=\s*(.*?)\s*$/.exec(line);
    if (match?.[1] === undefined || match[2] === undefined) continue;
    const value = match[2]
      .replace(/^"(.*)"$/, '$1')
      .replace(/\$\{([^}]+)\}/g, (whole, name: string) => env[name] ?? whole);
    set(options, match[1], value);
  }
  return options;
}

function fromEnvironment(env: NodeJS.ProcessEnv): NpmFetchOptions {
  const options: NpmFetchOptions = {};
  for (const [name, value] of Object.entries(env)) {
    const key = /^npm_config_(.+)$/i.exec(name)?.[1];
    if (key !== undefined && value) set(options, key.toLowerCase().replaceAll('_', '-'), value);
  }
  return options;
}

function set(options: NpmFetchOptions, key: string, value: string): void {
  // Credentials are written per registry: `//registry.example.com/:_authToken`.
  const name = key.startsWith('//') ? key : SETTINGS[key];
  if (name === undefined || value === '') return;
  // npm keeps fetched packages in a folder of its cache directory; the fetching library wants that folder.
  if (name === 'cache') options[name] = path.join(value, '_cacache');
  else options[name] = value === 'true' ? true : value === 'false' ? false : value;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch {
    // No such file, or not readable: npm itself goes on without it.
    return '';
  }
}
