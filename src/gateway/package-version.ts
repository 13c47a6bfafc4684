import { readFileSync } from 'node:fs';

/** The version of llamero, from its package.json: two folders up, both from `src/gateway` and from `dist/gateway`. */
export function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
