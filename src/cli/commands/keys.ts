import { homedir } from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import type { ApiKeyEntry } from '../../gateway/key-file.ts';
import { addApiKey, listApiKeys, revokeApiKey } from '../../gateway/key-store.ts';
import { addGrantOptions, describeGrant, grantOf, type KeyGrantOptions } from './key-grant-options.ts';

interface KeysOptions {
  file?: string;
  json?: boolean;
}

/** `llamero keys add | list | revoke`: the API keys of the gateway. */
export function keysCommand(): Command {
  const standard = defaultKeyFile(process.env, process.platform);
  const fileOption = ['--file <file>', `key file (default: LLAMERO_API_KEY_FILE, else ${standard})`] as const;
  const command = new Command('keys').description('add, list and revoke API keys');
  const add = command
    .command('add')
    .description('make a key and print it; it cannot be shown again')
    .argument('[name]', 'what the key is for', 'unnamed')
    .option(...fileOption);
  addGrantOptions(add).action(async (name: string, options: KeysOptions & KeyGrantOptions) => {
    const file = keyFile(options, standard);
    const { key, entry } = await addApiKey(file, name, grantOf(options));
    // The key alone on standard output, so that it can be piped into a secret store.
    process.stdout.write(`${key}\n`);
    process.stderr.write(
      `Added ${entry.id} (${name}) to ${file}. The key is not stored and cannot be shown again.\n` +
        `Serve with it: llamero serve --api-key-file ${file}\n`,
    );
  });
  command
    .command('list')
    .description('list the keys, without their secrets')
    .option(...fileOption)
    .option('--json', 'print as JSON')
    .action(async (options: KeysOptions) => {
      const file = keyFile(options, standard);
      const keys = await listApiKeys(file);
      if (options.json === true) {
        const shown = keys.map(({ hash: _hash, ...rest }) => rest);
        process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
      } else if (keys.length === 0) process.stdout.write(`No keys in ${file}.\n`);
      else for (const entry of keys) process.stdout.write(`${describeKey(entry)}\n`);
    });
  command
    .command('revoke')
    .description('take a key out; a running gateway refuses it from then on')
    .argument('<id>', 'id of the key, as `llamero keys list` shows it')
    .option(...fileOption)
    .action(async (id: string, options: KeysOptions) => {
      const { name } = await revokeApiKey(keyFile(options, standard), id);
      process.stdout.write(`Revoked ${id} (${name}).\n`);
    });
  return command.addHelpText(
    'after',
    `
Examples:
  llamero keys add laptop
  llamero keys add nightly --user reports --priority batch --tokens-per-day 2000000
  llamero keys add web-app --acts-for-others --requests-per-minute 20
  llamero serve ./model.gguf --host 0.0.0.0 --api-key-file ${standard}
  llamero keys revoke key_0123456789ab`,
  );
}

/** Where keys are kept unless said otherwise: the configuration folder of the platform. */
export function defaultKeyFile(env: NodeJS.ProcessEnv, platform: NodeJS.Platform): string {
  const home = homedir();
  if (platform === 'win32') {
    return path.join(env['APPDATA'] || path.join(home, 'AppData', 'Roaming'), 'llamero', 'keys.json');
  }
  if (platform === 'darwin') return path.join(home, 'Library', 'Application Support', 'llamero', 'keys.json');
  return path.join(env['XDG_CONFIG_HOME'] || path.join(home, '.config'), 'llamero', 'keys.json');
}

function describeKey({ id, created, name, ...granted }: ApiKeyEntry): string {
  const grant = describeGrant(granted);
  const line = `${id}  ${created}  ${name}`;
  return grant === '' ? line : `${line}  (${grant})`;
}

function keyFile(options: KeysOptions, standard: string): string {
  return options.file ?? (process.env['LLAMERO_API_KEY_FILE'] || standard);
}
