import { hash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { LlameroError } from '../core/errors.ts';

/**
 * The format of the API key file, free of I/O. It holds SHA-256 hashes only: a key is 256 random bits, so there is
 * nothing to guess and no need for a slow hash. Fields that this version does not know are kept.
 */

const entrySchema = z.looseObject({
  /** Public name of the key, for `keys revoke`. */
  id: z.string().min(1).max(64),
  /** What it is for, in the operator's words. */
  name: z.string().max(200),
  /** SHA-256 of the key, as 64 hexadecimal digits. */
  hash: z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hexadecimal digits'),
  /** When it was made, ISO 8601. */
  created: z.string().max(64),
});

const fileSchema = z.looseObject({
  version: z.literal(1),
  keys: z.array(entrySchema).max(100_000),
});

/** One key in the file. */
export type ApiKeyEntry = z.output<typeof entrySchema>;
/** The whole file. */
export type ApiKeyFile = z.output<typeof fileSchema>;

/** A file without keys. */
export function emptyKeyFile(): ApiKeyFile {
  return { version: 1, keys: [] };
}

/** @throws LlameroError `invalid_options` that says what is wrong, without quoting the file. */
export function parseKeyFile(text: string): ApiKeyFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new LlameroError('invalid_options', 'The API key file is not valid JSON.', { cause: error });
  }
  const result = fileSchema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const where = issue?.path.map(String).join('.') ?? '';
  throw new LlameroError('invalid_options', `The API key file is invalid at '${where}': ${issue?.message ?? ''}`);
}

/** The text of the file. */
export function formatKeyFile(file: ApiKeyFile): string {
  return `${JSON.stringify(file, null, 2)}\n`;
}

/** A new key: the secret to hand out, and the entry to keep. `now` is written into the entry. */
export function newApiKey(name: string, now: Date): { key: string; entry: ApiKeyEntry } {
  const key = `llamero_${randomBytes(32).toString('base64url')}`;
  const id = `key_${randomBytes(6).toString('hex')}`;
  return { key, entry: { id, name, hash: hashApiKey(key).toString('hex'), created: now.toISOString() } };
}

/** SHA-256 of a key. */
export function hashApiKey(key: string): Buffer {
  return hash('sha256', key, 'buffer');
}
