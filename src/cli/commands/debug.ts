import path from 'node:path';
import { Command } from 'commander';
import { LlameroError } from '../../core/errors.ts';
import { type BundleFile, bundleFiles } from '../debug/bundle-files.ts';
import { writeBundle } from '../debug/write-bundle.ts';
import { withProgress } from '../with-progress.ts';
import { readKey } from './status.ts';

interface BundleCommandOptions {
  out?: string;
  url: string;
  apiKeyFile?: string;
  config?: string;
  logFile?: string;
}

/** `llamero debug bundle`: what a maintainer needs to know, in one file. */
export function debugCommand(): Command {
  const command = new Command('debug').description('collect what is needed to find a fault');
  command
    .command('bundle')
    .description('versions, configuration, doctor, state, metrics and logs in one .tar.gz, with secrets removed')
    .option('--out <file>', 'file to write (default: llamero-debug-TIME.tar.gz here)')
    .option('--url <url>', 'address of the gateway, if one runs', 'http://127.0.0.1:8080')
    .option(
      '--api-key-file <file>',
      'file that holds an API key as it was given out (for the log, one that may administer); or LLAMERO_API_KEY',
    )
    .option('--config <file>', 'configuration file (default ./llamero.yaml where it exists)')
    .option('--log-file <file>', "llamero's log in JSON, if it is kept in a file")
    .action(async (options: BundleCommandOptions) => {
      const { url, config, logFile, apiKeyFile } = options;
      if (!URL.canParse(url))
        throw new LlameroError('invalid_options', '--url: expected an address such as http://127.0.0.1:8080');
      const out = path.resolve(options.out ?? `llamero-debug-${timestamp(new Date())}.tar.gz`);
      await withProgress(async (signal, onProgress) => {
        const files = await bundleFiles({
          ...(config === undefined ? {} : { config }),
          ...(logFile === undefined ? {} : { logFile }),
          url,
          key: readKey(apiKeyFile, process.env),
          env: process.env,
          cwd: process.cwd(),
          signal,
          onProgress,
        });
        const readme = { name: 'README.txt', text: describeFiles(files), about: 'this list' };
        const bytes = await writeBundle(out, [readme, ...files]);
        process.stdout.write(
          `Wrote ${out} (${Math.ceil(bytes / 1024)} KB):\n\n${describeFiles(files)}\n` +
            `Keys, tokens, passwords and your home folder were taken out, as far as they can be told. Look through it\n` +
            `before you send it to anybody: tar -xzf ${path.basename(out)}\n`,
        );
      });
    });
  return command.addHelpText(
    'after',
    `
Examples:
  llamero debug bundle
  llamero debug bundle --url http://10.0.0.5:8080 --api-key-file ./my.key --out report.tar.gz`,
  );
}

/** One line for each file. */
function describeFiles(files: readonly BundleFile[]): string {
  const width = Math.max(...files.map(({ name }) => name.length)) + 2;
  return files.map(({ name, about }) => `  ${name.padEnd(width)}${about}\n`).join('');
}

/** Such as `20260131-235959`. */
function timestamp(now: Date): string {
  return now.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-');
}
