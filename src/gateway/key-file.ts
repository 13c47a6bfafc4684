import { hash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { identitySchema, prioritySchema, weightSchema } from '../core/admission/client-options.ts';
import { clientLimitsSchema } from '../core/config.ts';
import { LlameroError } from '../core/errors.ts';

/**
 * The format of the API key file, free of I/O. It holds SHA-256 hashes only: a key is 256 random bits, so there is
 * nothing to guess and no need for a slow hash. Fields that this version does not know are kept.
 */

/** What a key grants to its holder; see {@link ApiKeyIdentity}. */
const grantShape = {
  /** The user that the key stands for; several keys may stand for one. Default: a user of its own. */
  userId: identitySchema.max(128).optional(),
  /** Share of the engine beside other clients, 0.01 to 100. Default 1. */
  weight: weightSchema.optional(),
  /** The highest class that its requests may have. Default `default`. */
  priority: prioritySchema.optional(),
  /** Limits of its own, instead of those of the pool. */
  limits: clientLimitsSchema.optional(),
  /** Whether its X-User-Id, X-Session-Id, X-Forwarded-For and Forwarded are believed. Default false. */
  mayActForOthers: z.boolean().optional(),
  /** Whether it may use the routes under /admin/ that do something, from anywhere. Default false. */
  mayAdminister: z.boolean().optional(),
};
const grantSchema = z.strictObject(grantShape);

const entrySchema = z.looseObject({
  /** Public name of the key, for `keys revoke`. */
  id: z.string().min(1).max(64),
  /** What it is for, in the operator's words. */
  name: z.string().max(200),
  /** SHA-256 of the key, as 64 hexadecimal digits. */
  hash: z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hexadecimal digits'),
  /** When it was made, ISO 8601. */
  created: z.string().max(64),
  ...grantShape,
});

const fileSchema = z.looseObject({
  version: z.literal(1),
  keys: z.array(entrySchema).max(100_000),
});

/** What a key grants beside access; everything is optional. */
export type ApiKeyGrant = z.output<typeof grantSchema>;
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
  throw invalid('The API key file is invalid', result.error);
}

/** The text of the file. */
export function formatKeyFile(file: ApiKeyFile): string {
  return `${JSON.stringify(file, null, 2)}\n`;
}

/**
 * A new key: the secret to hand out, and the entry to keep. `now` is written into the entry.
 * @throws LlameroError `invalid_options` that names the impossible part of `grant`.
 */
export function newApiKey(name: string, now: Date, grant: ApiKeyGrant = {}): { key: string; entry: ApiKeyEntry } {
  const granted = grantSchema.safeParse(grant);
  if (!granted.success) throw invalid('The grant of the key is invalid', granted.error);
  const key = `llamero_${randomBytes(32).toString('base64url')}`;
  const id = `key_${randomBytes(6).toString('hex')}`;
  return {
    key,
    entry: { id, name, hash: hashApiKey(key).toString('hex'), created: now.toISOString(), ...granted.data },
  };
}

/** SHA-256 of a key. */
export function hashApiKey(key: string): Buffer {
  return hash('sha256', key, 'buffer');
}

function invalid(what: string, error: z.ZodError): LlameroError {
  const issue = error.issues[0];
  const where = issue?.path.map(String).join('.') ?? '';
  return new LlameroError('invalid_options', `${what} at '${where}': ${issue?.message ?? ''}`, { param: where });
}
