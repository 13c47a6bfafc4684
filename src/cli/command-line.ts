import { inspect } from 'node:util';
import { Command, CommanderError } from 'commander';
import { LlameroError } from '../core/errors.ts';
import { packageVersion } from '../gateway/package-version.ts';

/** Wrong usage or configuration, apart from failures (1). */
const EXIT_USAGE = 2;

/**
 * The commands. Only the one that is asked for is loaded, so that starting to serve does not pay for the rest.
 * `serve` alone takes what follows `--`.
 */
const COMMANDS: Record<string, { summary: string; load: (engineArgs: readonly string[]) => Promise<Command> }> = {
  serve: {
    summary: 'serve a model: a supervised llama-server behind an OpenAI-compatible gateway',
    load: async (engineArgs) => (await import('./commands/serve.ts')).serveCommand(engineArgs),
  },
  engine: {
    summary: 'install llama-server, or tell which one is used',
    load: async () => (await import('./commands/engine.ts')).engineCommand(),
  },
  doctor: {
    summary: 'check machine, engine, model and configuration',
    load: async () => (await import('./commands/doctor.ts')).doctorCommand(),
  },
  inspect: {
    summary: 'what a GGUF file holds, and what it needs',
    load: async () => (await import('./commands/inspect.ts')).inspectCommand(),
  },
  keys: {
    summary: 'add, list and revoke API keys',
    load: async () => (await import('./commands/keys.ts')).keysCommand(),
  },
  config: {
    summary: 'check, describe and print configuration',
    load: async () => (await import('./commands/config.ts')).configCommand(),
  },
  status: {
    summary: 'state of a running gateway',
    load: async () => (await import('./commands/status.ts')).statusCommand(),
  },
  debug: {
    summary: 'collect what is needed to find a fault',
    load: async () => (await import('./commands/debug.ts')).debugCommand(),
  },
};

/** Runs `llamero` with these arguments and sets the exit code. */
export async function runCommandLine(argv: readonly string[]): Promise<void> {
  // A reader that went away (`llamero config schema | head`) is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit();
    throw error;
  });
  try {
    const { own, engineArgs } = splitEngineArgs(argv);
    const program = await buildProgram(wantedCommand(own), engineArgs);
    await program.parseAsync(own, { from: 'user' });
  } catch (error) {
    process.exitCode = report(error);
  }
}

async function buildProgram(wanted: string | undefined, engineArgs: readonly string[]): Promise<Command> {
  const program = new Command('llamero')
    .description('The production runtime for llama.cpp.')
    .version(packageVersion(), '-v, --version')
    .addHelpText(
      'after',
      `
Examples:
  llamero serve                        a tiny built-in model, to see it work
  llamero serve ./model.gguf           any OpenAI client at http://127.0.0.1:8080/v1
  llamero inspect ./model.gguf         what it is, and whether it fits this machine
  llamero doctor                       what is wrong, and what to do`,
    );
  for (const [name, { summary, load }] of Object.entries(COMMANDS)) {
    program.addCommand(name === wanted ? await load(engineArgs) : new Command(name).description(summary));
  }
  answerMistakes(program);
  return program;
}

/** Every command and subcommand throws instead of ending the process, and says where its help is. */
function answerMistakes(command: Command, path = 'llamero'): void {
  command.exitOverride();
  command.showHelpAfterError(`(\`${path} --help\` shows what there is)`);
  for (const child of command.commands) answerMistakes(child, `${path} ${child.name()}`);
}

function wantedCommand(argv: readonly string[]): string | undefined {
  const [first, second] = argv.filter((argument) => !argument.startsWith('-'));
  return first === 'help' ? second : first;
}

function splitEngineArgs(argv: readonly string[]): { own: string[]; engineArgs: string[] } {
  const at = argv.indexOf('--');
  if (at === -1 || wantedCommand(argv) !== 'serve') return { own: [...argv], engineArgs: [] };
  return { own: argv.slice(0, at), engineArgs: argv.slice(at + 1) };
}

/** Tells a person what went wrong. @returns the exit code. */
function report(error: unknown): number {
  // Commander has already written its message.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  const debug = process.env['LLAMA_DEBUG'] === 'true';
  if (!(error instanceof LlameroError)) {
    process.stderr.write(`llamero: unexpected failure: ${inspect(error)}\n`);
    return 1;
  }
  process.stderr.write(`llamero: ${debug ? inspect(error, { depth: 6 }) : error.message}\n`);
  // A taken port is told as an option that cannot be, but it is not the configuration that is wrong.
  const isMistake = error.code === 'invalid_options' && error.details['reason'] !== 'EADDRINUSE';
  return isMistake ? EXIT_USAGE : 1;
}
