import { Command, Option } from 'commander';
import { describeVersion } from '../../core/engine/install/engine-version.ts';
import type { EngineBinary } from '../../core/engine/install/engine-binary.ts';
import { installEngine } from '../../core/engine/install/install-engine.ts';
import { listEngines, locateEngine } from '../../core/engine/install/locate-engine.ts';
import { ENGINE_TAG } from '../../core/engine/install/pinned-engine.ts';
import { LlameroError } from '../../core/errors.ts';
import { withProgress } from '../with-progress.ts';

/** `llamero engine install | path | list`: get llama-server, and tell which one is used. */
export function engineCommand(): Command {
  const engine = new Command('engine').description('install llama-server, or tell which one is used');
  engine
    .command('install')
    .description(`install llama-server ${ENGINE_TAG} into llamero's cache`)
    .addOption(
      new Option('--from <source>', 'release: official archive; source: built here; auto: archive, else built')
        .choices(['auto', 'release', 'source'])
        .default('auto'),
    )
    .option('--force', 'install again although it is installed', false)
    .action(install);
  engine.command('path').description('print the path of the llama-server that llamero would use').action(printPath);
  engine.command('list').description('list every llama-server in reach').action(printList);
  return engine;
}

async function install({ from, force }: { from: 'auto' | 'release' | 'source'; force: boolean }): Promise<void> {
  await withProgress(async (signal, onProgress) => {
    const startedAt = performance.now();
    const engine = await installEngine({ from, force, env: process.env, signal, onProgress });
    const seconds = Math.round((performance.now() - startedAt) / 1000);
    onProgress({ step: 'note', fraction: null, message: `llama-server ${describeVersion(engine)} (${seconds} s)` });
    process.stdout.write(`${engine.path}\n`);
  });
}

async function printPath(): Promise<void> {
  await withProgress(async (signal, onProgress) => {
    const engine = await locateEngine({ env: process.env, signal, onProgress });
    if (engine === null) {
      throw new LlameroError(
        'engine_unavailable',
        'There is no llama-server in LLAMA_SERVER_PATH, PATH or the cache. `llamero engine install` gets one.',
      );
    }
    process.stdout.write(`${engine.path}\n`);
  });
}

async function printList(): Promise<void> {
  await withProgress(async (signal, onProgress) => {
    const engines = await listEngines({ env: process.env, signal, onProgress });
    if (engines.length === 0) {
      onProgress({
        step: 'note',
        fraction: null,
        message: 'No llama-server found. `llamero engine install` gets one.',
      });
      return;
    }
    const rows = engines.map((engine) => [describeVersion(engine), originName(engine), engine.path]);
    const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
    for (const row of rows) {
      process.stdout.write(`${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}\n`);
    }
  });
}

const ORIGIN_NAMES = { option: 'option', environment: 'LLAMA_SERVER_PATH', path: 'PATH', cache: 'cache' } as const;

function originName({ origin, source }: EngineBinary): string {
  return source === undefined ? ORIGIN_NAMES[origin] : `${ORIGIN_NAMES[origin]} (${source})`;
}
