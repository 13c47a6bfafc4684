/**
 * `npm test [files and folders...]`: runs the tests with Node's own runner, after making sure that there is a
 * llama-server. The last line is always `N passed, N failed, N skipped`; the exit code is 1 when anything failed or
 * nothing ran.
 */
import { spawnSync } from 'node:child_process';
import { globSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { obtainEngine } from '../src/core/engine/install/install-engine.ts';
import { locateEngine } from '../src/core/engine/install/locate-engine.ts';
import { createProgressDisplay } from '../src/cli/progress.ts';
import { runTestFile, type TestCounts } from './run-test-file.ts';

/** A file that takes longer hangs, or holds something open after its last test; both are failures. */
const FILE_TIMEOUT_MS = 300_000;
/** Each file may start engines of its own, so more at once only make each other slow. */
const MOST_FILES_AT_ONCE = 4;

const root = resolve(import.meta.dirname, '..');
process.chdir(root);

const total: TestCounts = { passed: 0, failed: 0, skipped: 0 };
const broken: string[] = [];
try {
  const files = testFiles(process.argv.slice(2));
  if (files.length === 0) throw new Error('No test file found.');
  await provideEngine();
  if (!knowsUsing()) loadCompiled();
  process.stdout.write(`${files.length} test files, Node ${process.version}, ${engineName()}\n`);
  await runAll(files);
} catch (error) {
  total.failed += 1;
  process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
}
if (broken.length > 0) process.stdout.write(`\nFailed:\n${broken.map((name) => `  ${name}\n`).join('')}\n`);
process.stdout.write(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;

/** Every test file, or those among the given files and folders. */
function testFiles(paths: readonly string[]): string[] {
  const wanted = (paths.length === 0 ? ['src', 'bench'] : paths).flatMap((path) => {
    const full = resolve(path);
    const found = statSync(full, { throwIfNoEntry: false });
    if (found === undefined) throw new Error(`There is no ${path}.`);
    return found.isDirectory() ? globSync('**/*.test.ts', { cwd: full }).map((name) => join(full, name)) : full;
  });
  return [...new Set(wanted)].sort();
}

/** Sets LLAMA_SERVER_PATH for the tests: the one that is there, or one that is installed now, which takes minutes. */
async function provideEngine(): Promise<void> {
  if (process.env['LLAMA_SERVER_PATH']) return;
  const display = createProgressDisplay(process.stderr);
  const options = {
    env: process.env,
    onProgress: (report: Parameters<typeof display.update>[0]) => display.update(report),
  };
  try {
    const skip = process.env['SKIP_LLAMA_INTEGRATION'] === 'true';
    const engine = skip ? await locateEngine(options) : await obtainEngine(options);
    if (engine !== null) process.env['LLAMA_SERVER_PATH'] = engine.path;
  } finally {
    display.done();
  }
}

function knowsUsing(): boolean {
  return Number(process.versions.node.split('.')[0]) >= 24;
}

/** Compiles sources and tests, and makes every Node that is started from here load them in that form. */
function loadCompiled(): void {
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  const { status } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.tests.json'], { stdio: 'inherit' });
  if (status !== 0) throw new Error('The sources do not compile.');
  const preload = `--import=${pathToFileURL(join(root, 'scripts/load-compiled.ts')).href}`;
  process.env['NODE_OPTIONS'] = `${process.env['NODE_OPTIONS'] ?? ''} ${preload}`.trim();
}

function engineName(): string {
  return process.env['LLAMA_SERVER_PATH'] ?? 'no llama-server';
}

async function runAll(queue: readonly string[]): Promise<void> {
  const waiting = [...queue];
  const worker = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const { counts, output, seconds } = await runTestFile(file, FILE_TIMEOUT_MS);
      total.passed += counts.passed;
      total.failed += counts.failed;
      total.skipped += counts.skipped;
      const name = relative(root, file);
      if (counts.failed > 0) broken.push(name);
      // In one piece when the file is done: files that run side by side must not be read interleaved.
      process.stdout.write(`\n${name} (${seconds.toFixed(1)} s)\n${output}`);
    }
  };
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), MOST_FILES_AT_ONCE) }, worker));
}
