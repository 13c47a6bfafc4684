import { existsSync, readFileSync } from 'node:fs';
import { dirname, isAbsolute, relative, resolve } from 'node:path';
import { createRequire } from 'node:module';
import type { Document } from 'yaml';
import { LlameroError } from '../core/errors.ts';

/** Loaded with the first file there is to read: most starts have none, and would pay for it before they listen. */
const yaml = () => createRequire(import.meta.url)('yaml') as typeof import('yaml');

/** The file that is read when none is named and it lies in the working directory. */
export const DEFAULT_CONFIGURATION_FILE = 'llamero.yaml';

/** A configuration file as it was read: not validated yet. */
export interface ConfigurationFile {
  /** The path as a user would write it, for messages. */
  readonly name: string;
  /** What the file holds; its relative paths are absolute already. */
  readonly content: unknown;
  /** `name:line` of a key, or `name` where the key is not in the file. */
  locate(key: string): string;
}

/**
 * Reads a configuration file in YAML, or in JSON, which is YAML too.
 * @throws LlameroError `invalid_options` when it cannot be read or is not YAML, with the line.
 */
export function readConfigurationFile(path: string, cwd: string): ConfigurationFile {
  const full = resolve(cwd, path);
  let text: string;
  try {
    text = readFileSync(full, 'utf8');
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : String(error);
    throw new LlameroError('invalid_options', `Cannot read the configuration file ${path}: ${reason}`, {
      cause: error,
    });
  }
  return parseConfigurationText(text, displayName(full, cwd), dirname(full));
}

/** The configuration file to read: the one that is named, or `./llamero.yaml` where it exists, or none. */
export function chooseConfigurationFile(named: string | undefined, cwd: string): string | null {
  if (named !== undefined) return named;
  return existsSync(resolve(cwd, DEFAULT_CONFIGURATION_FILE)) ? DEFAULT_CONFIGURATION_FILE : null;
}

/** The same for a text: `directory` is what relative paths in it start from. */
export function parseConfigurationText(text: string, name: string, directory: string): ConfigurationFile {
  const { LineCounter, parseDocument } = yaml();
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const problem = document.errors[0];
  if (problem !== undefined) {
    const { line, col } = lines.linePos(problem.pos[0]);
    throw new LlameroError('invalid_options', `Invalid ${name}:\n  ${name}:${line}:${col}: ${problem.message}`);
  }
  const content: unknown = document.toJS() ?? {};
  return {
    name,
    content: absolutePaths(content, directory),
    locate: (key) => {
      const offset = offsetOf(document, key);
      return offset === null ? name : `${name}:${lines.linePos(offset).line}`;
    },
  };
}

/** Where the deepest part of the key that the document holds begins. */
function offsetOf(document: Document, key: string): number | null {
  const { isMap, isScalar } = yaml();
  let node: unknown = document.contents;
  let offset: number | null = null;
  for (const part of key.replaceAll(/\[\d+\]/g, '').split('.')) {
    if (!isMap(node)) break;
    const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === part);
    if (pair === undefined) break;
    if (isScalar(pair.key) && pair.key.range) offset = pair.key.range[0];
    node = pair.value;
  }
  return offset;
}

/**
 * Paths in a file start from the file's folder, so that it works from anywhere. A model is a path only when it says
 * so (`./model.gguf`): `user/repo` is a Hugging Face name.
 */
function absolutePaths(content: unknown, directory: string): unknown {
  if (!isRecord(content)) return content;
  const result: Record<string, unknown> = { ...content };
  const dotted = (value: unknown) =>
    typeof value === 'string' && /^\.\.?[/\\]/.test(value) ? resolve(directory, value) : value;
  if ('model' in result) result['model'] = dotted(result['model']);
  if (isRecord(result['engine']) && 'command' in result['engine']) {
    result['engine'] = { ...result['engine'], command: dotted(result['engine']['command']) };
  }
  if (isRecord(result['gateway'])) result['gateway'] = withAbsolute(result['gateway'], 'apiKeyFile', directory);
  const { alerts } = result;
  if (isRecord(alerts) && isRecord(alerts['webhook'])) {
    result['alerts'] = { ...alerts, webhook: withAbsolute(alerts['webhook'], 'secretFile', directory) };
  }
  return result;
}

function withAbsolute(section: Record<string, unknown>, key: string, directory: string): Record<string, unknown> {
  const file = section[key];
  if (typeof file !== 'string' || file === '' || isAbsolute(file)) return section;
  return { ...section, [key]: resolve(directory, file) };
}

function displayName(full: string, cwd: string): string {
  const near = relative(cwd, full);
  return near.startsWith('..') ? full : near;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
