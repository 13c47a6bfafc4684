import { Command, Option } from 'commander';
import { stringify } from 'yaml';
import { type Config, configJsonSchema, parseConfig } from '../../core/config.ts';
import { readConfigurationFile } from '../configuration-file.ts';
import { loadConfiguration, mergeConfiguration } from '../configuration.ts';

/** The configuration with the address of the webhook cut behind its origin: what follows often is what lets in. Pure. */
export function withoutSecrets(config: Config): Config {
  const { webhook } = config.alerts;
  if (webhook.url === null) return config;
  const { origin, pathname, search, hash, username, password } = new URL(webhook.url);
  const hasMore =
    (pathname !== '/' && pathname !== '') || [search, hash, username, password].some((part) => part !== '');
  const url = hasMore ? `${origin}/***` : webhook.url;
  return { ...config, alerts: { ...config.alerts, webhook: { ...webhook, url } } };
}

/** `llamero config check FILE | schema | print`. */
export function configCommand(): Command {
  const command = new Command('config').description('check, describe and print configuration');
  command
    .command('check')
    .description('validate a configuration file')
    .argument('<file>', 'YAML or JSON file')
    .action((path: string) => {
      const file = readConfigurationFile(path, process.cwd());
      mergeConfiguration({ flags: {}, env: {}, file, engineArgs: [] });
      process.stdout.write(`${path}: valid\n`);
    });
  command
    .command('schema')
    .description('print the JSON Schema of the configuration file, for editors')
    .action(() => {
      process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
    });
  command
    .command('print')
    .description('print the complete configuration that `llamero serve` would use here')
    .option('--config <file>', 'configuration file (default ./llamero.yaml where it exists)')
    .addOption(new Option('--defaults', 'print the defaults instead').conflicts('config'))
    .action((options: { config?: string; defaults?: boolean }) => {
      const flags = { config: options.config };
      const config =
        options.defaults === true
          ? parseConfig({})
          : loadConfiguration({ flags, env: process.env, cwd: process.cwd() }).config;
      process.stdout.write(stringify(withoutSecrets(config)));
    });
  return command.addHelpText(
    'after',
    `
Examples:
  llamero config print --defaults > llamero.yaml
  llamero config check llamero.yaml`,
  );
}
