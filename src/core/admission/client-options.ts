import { z } from 'zod';
import { clientLimitsSchema } from '../config.ts';
import { LlameroError } from '../errors.ts';
import { ANONYMOUS, type Client, PRIORITY_CLASSES } from './client.ts';
import { clientAddressId } from './client-address.ts';
import { clientKey } from './client-key.ts';

/** How a program says on whose behalf it calls, and the shapes that API keys share with it. */

/** See {@link Client.weight}. */
export const weightSchema = z.number().min(0.01).max(100);
/** See {@link Client.priority}. */
export const prioritySchema = z.enum(PRIORITY_CLASSES);
/** A name of somebody: not empty, no control characters. Long ones are kept by their hash. */
export const identitySchema = z
  .string()
  .min(1)
  .max(1024)
  .refine(isIdentity, 'expected a text without control characters and lone surrogates');

/** Shape of {@link ClientOptions}, for the options of a call. */
export const clientOptionsSchema = z.strictObject({
  /** Who it is; wins over the other two. */
  userId: identitySchema.optional(),
  /** A session, where the user is not known. */
  sessionId: identitySchema.optional(),
  /** An address in any spelling, where nothing else is known; IPv6 counts as its /64. */
  ip: z
    .string()
    .refine((text) => clientAddressId(text) !== null, 'expected an IP address')
    .optional(),
  /** Share of the engine beside other clients, 0.01 to 100. Default 1. */
  weight: weightSchema.optional(),
  /** Default `default`. */
  priority: prioritySchema.optional(),
  /** Limits of this client, instead of those of its pool. */
  limits: clientLimitsSchema.optional(),
});

/** On whose behalf a call is made. */
export type ClientOptions = z.input<typeof clientOptionsSchema>;

/**
 * The client that `options.client` of a call means: userId > sessionId > ip > anonymous.
 * @throws LlameroError `invalid_options` that names the option, such as `client.userId`.
 */
export function clientOf(options: ClientOptions | undefined): Client {
  if (options === undefined) return ANONYMOUS;
  const result = clientOptionsSchema.safeParse(options);
  if (!result.success) throw invalidClient(result.error.issues);
  const { weight = 1, priority = 'default', limits = {} } = result.data;
  return { ...identityOf(result.data), weight, priority, limits };
}

/** Whether a text may be a name of somebody, apart from its length. */
export function isIdentity(text: string): boolean {
  return text.isWellFormed() && !/\p{Cc}/u.test(text);
}

function identityOf({ userId, sessionId, ip }: ClientOptions): Pick<Client, 'pool' | 'key'> {
  if (userId !== undefined) return { pool: 'user', key: clientKey('user', 'id', userId) };
  if (sessionId !== undefined) return { pool: 'session', key: clientKey('session', 'id', sessionId) };
  const address = ip === undefined ? null : clientAddressId(ip);
  return address === null ? ANONYMOUS : { pool: 'ip', key: clientKey('ip', 'id', address) };
}

function invalidClient(issues: readonly z.core.$ZodIssue[]): LlameroError {
  const problems = issues.map((issue) => {
    const unknown = issue.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : [];
    return { path: ['client', ...issue.path, ...unknown].map(String).join('.'), message: issue.message };
  });
  const message = problems.map(({ path, message: text }) => `${path}: ${text}`).join('; ');
  return new LlameroError('invalid_options', message, { param: problems[0]?.path });
}
