import { type Command, InvalidArgumentError, Option } from 'commander';
import { type ClientLimits, PRIORITY_CLASSES, type PriorityClass } from '../../core/admission/client.ts';
import type { ApiKeyGrant } from '../../gateway/key-file.ts';

/** The options of `llamero keys add` that say what a key grants beside access, and how `keys list` shows that. */

/** The options as commander reads them. */
export interface KeyGrantOptions extends Partial<Record<keyof ClientLimits, number | 'none'>> {
  user?: string;
  weight?: number;
  priority?: PriorityClass;
  actsForOthers?: true;
  admin?: true;
}

const LIMITS: readonly { flag: string; key: keyof ClientLimits; what: string; unit: string }[] = [
  { flag: 'requests-per-minute', key: 'requestsPerMinute', what: 'requests per minute', unit: ' req/min' },
  { flag: 'requests-per-hour', key: 'requestsPerHour', what: 'requests per hour', unit: ' req/h' },
  { flag: 'tokens-per-minute', key: 'tokensPerMinute', what: 'tokens per minute, in and out', unit: ' tok/min' },
  { flag: 'tokens-per-day', key: 'tokensPerDay', what: 'tokens per day, in and out', unit: ' tok/day' },
  { flag: 'max-concurrent', key: 'maxConcurrent', what: 'requests at once, waiting ones included', unit: ' at once' },
];

/** Gives a command the options that {@link grantOf} reads. */
export function addGrantOptions(command: Command): Command {
  command
    .option('--user <id>', 'the user that the key stands for (default: a user of its own)')
    .option('--weight <number>', 'share of the engine beside others, 0.01 to 100 (default: 1)', readNumber)
    .addOption(
      new Option('--priority <class>', 'highest class of its requests (default: default)').choices(PRIORITY_CLASSES),
    );
  for (const { flag, what } of LIMITS) {
    command.option(`--${flag} <number>`, `limit: ${what}; "none" for no limit (default: as configured)`, readLimit);
  }
  return command
    .option(
      '--acts-for-others',
      'believe its X-User-Id, X-Session-Id and X-Forwarded-For: for applications that call for their own users',
    )
    .option('--admin', 'let it use the routes under /admin/ that do something, from other machines too');
}

/** What the options of one call grant. */
export function grantOf(options: KeyGrantOptions): ApiKeyGrant {
  const { user, weight, priority, actsForOthers, admin } = options;
  const limits = LIMITS.flatMap(({ key }) => {
    const limit = options[key];
    return limit === undefined ? [] : [[key, limit === 'none' ? null : limit] as const];
  });
  return {
    ...(user === undefined ? {} : { userId: user }),
    ...(weight === undefined ? {} : { weight }),
    ...(priority === undefined ? {} : { priority }),
    ...(limits.length === 0 ? {} : { limits: Object.fromEntries(limits) }),
    ...(actsForOthers === undefined ? {} : { mayActForOthers: true }),
    ...(admin === undefined ? {} : { mayAdminister: true }),
  };
}

/** A grant in a few words, such as `user alice, weight 2, 60 req/min`; empty where a key grants nothing but access. */
export function describeGrant({
  userId,
  weight,
  priority,
  limits = {},
  mayActForOthers,
  mayAdminister,
}: ApiKeyGrant): string {
  const words = [
    userId === undefined ? [] : `user ${userId}`,
    weight === undefined ? [] : `weight ${weight}`,
    priority ?? [],
    LIMITS.flatMap(({ key, unit }) => {
      const limit = limits[key];
      return limit === undefined ? [] : `${limit ?? 'unlimited'}${unit}`;
    }),
    mayActForOthers === true ? 'acts for others' : [],
    mayAdminister === true ? 'admin' : [],
  ];
  return words.flat().join(', ');
}

function readNumber(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (Number.isFinite(value)) return value;
  throw new InvalidArgumentError('It must be a number.');
}

function readLimit(text: string): number | 'none' {
  if (text === 'none') return text;
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number of at least 1, or "none".');
}
