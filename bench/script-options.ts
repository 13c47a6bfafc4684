import { parseArgs, type ParseArgsConfig } from 'node:util';

type Options = NonNullable<ParseArgsConfig['options']>;

/** Reads the options of a script. Asked for `--help`, or called with options that it has not, the script tells how it is used and ends. */
export function readOptions<const Own extends Options>(usage: string, options: Own) {
  return readArguments(usage, options, false).values;
}

/** The same for a script that also takes names. */
export function readArguments<const Own extends Options>(usage: string, options: Own, allowPositionals = true) {
  const config = { options: { ...options, help: { type: 'boolean', default: false } as const }, allowPositionals };
  const parsed = parsedOrMisused(usage, () => parseArgs(config));
  if (!('help' in parsed.values) || parsed.values.help !== true) return parsed;
  console.log(usage);
  process.exit(0);
}

/** Ends a script that was called wrongly. */
export function misused(usage: string, reason?: string): never {
  console.error(reason === undefined ? usage : `${reason}\n\n${usage}`);
  process.exit(2);
}

function parsedOrMisused<Parsed>(usage: string, parse: () => Parsed): Parsed {
  try {
    return parse();
  } catch (error) {
    return misused(usage, error instanceof Error ? error.message : String(error));
  }
}
