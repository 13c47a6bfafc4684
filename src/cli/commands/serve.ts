import { Command } from 'commander';
import { loadConfiguration } from '../configuration.ts';
import { SERVE_OPTIONS } from '../serve-options.ts';
import { runServer } from '../serve/run-server.ts';

/** `llamero serve`. @param engineArgs what followed `--` on the command line. */
export function serveCommand(engineArgs: readonly string[]): Command {
  const command = new Command('serve')
    .description('serve a model: a supervised llama-server behind an OpenAI-compatible gateway')
    .usage('[MODEL] [options] [-- llama-server options]');
  for (const { flag, placeholder, description, environment } of SERVE_OPTIONS) {
    if (flag === null) command.argument(`[${placeholder}]`, `${description}; default: a tiny built-in one`);
    else command.option(`--${flag} <${placeholder}>`, `${description} [${environment}]`);
  }
  return command
    .option('--config <FILE>', 'configuration file (default ./llamero.yaml where it exists) [LLAMERO_CONFIG]')
    .action(async (model: string | undefined, options: Record<string, string>) => {
      const flags = { ...flagsByName(options), model };
      const { env } = process;
      const cwd = process.cwd();
      const read = () => loadConfiguration({ flags, env, cwd, engineArgs });
      await runServer(read(), env, read);
    })
    .addHelpText(
      'after',
      `
Each option may also stand in the environment, under the name in brackets, or in the configuration file:
\`llamero config print --defaults\` shows its keys. A flag wins over the environment, that over the file.

SIGHUP reads the configuration file again and replaces the engine, without losing a request, where its settings or the
model have changed. SIGINT and SIGTERM end the server in order; a second one ends it at once.

Examples:
  llamero serve
  llamero serve ./model.gguf --parallel 8 --ctx-size 8192
  llamero serve user/repo:Q4_K_M --host 0.0.0.0 --api-key-file ./keys.json
  llamero serve ./model.gguf -- --flash-attn on --n-gpu-layers 99`,
    );
}

/** Commander names options in camel case; the table has them as they are typed. */
function flagsByName(options: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(options).map(([name, value]) => [
      name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
      value,
    ]),
  );
}
