import { describe, type TestOptions } from 'node:test';

/**
 * `describe` for tests whose programs (llama-server, compilers) are shell scripts, which Windows cannot start: there the
 * suite does not exist.
 */
export function posixSuite(name: string, options: TestOptions, body: () => void): void {
  if (process.platform !== 'win32') void describe(name, options, body);
}
