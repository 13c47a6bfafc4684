/**
 * `npm run smoke`: packs llamero, installs the tarball into an empty folder and uses what a user would use there. The
 * last line is `N passed, N failed, N skipped`, counted in steps.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { InstalledServer } from './installed-server.ts';
import { runProgram } from './run-program.ts';

const root = resolve(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'llamero-smoke-'));
const installed = join(folder, 'node_modules/llamero');
const windows = process.platform === 'win32';
const llamero = join(folder, 'node_modules/.bin', windows ? 'llamero.cmd' : 'llamero');
const version = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version;

let tarball = '';
let server: InstalledServer | null = null;
const counts = { passed: 0, failed: 0, skipped: 0 };

try {
  await step('npm pack', 120, async (signal) => {
    await npm(['pack', '--pack-destination', folder], root, signal);
    tarball = readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? '';
    assert.notEqual(tarball, '', 'no tarball was written');
  });
  await step('install the tarball into an empty folder', 240, async (signal) => {
    writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n');
    await npm(['install', '--no-audit', '--no-fund', join(folder, tarball)], folder, signal);
  });
  await step('it holds the build, the documentation and what to deploy it with', 5, () => {
    const extra = readdirSync(installed).filter(
      (name) => !/^(deploy|dist|docs|package\.json|LICENSE|.*\.md)$/.test(name),
    );
    assert.deepEqual(extra, []);
    const tests = readdirSync(join(installed, 'dist'), { recursive: true }).filter((name) =>
      /__tests__|\.ts$(?<!\.d\.ts)/.test(String(name)),
    );
    assert.deepEqual(tests, []);
  });
  await step('llamero --version', 20, async (signal) => {
    assert.equal((await runProgram(llamero, ['--version'], { cwd: folder, signal })).trim(), version);
  });
  await step('llamero --help', 20, async (signal) => {
    assert.match(await runProgram(llamero, ['--help'], { cwd: folder, signal }), /Usage: llamero[^]*serve/);
  });
  await step("import 'llamero' and 'llamero/testing'", 20, async (signal) => {
    const script = join(folder, 'use.js');
    writeFileSync(
      script,
      `import { LlamaCppProvider, LlameroError } from 'llamero';
import { writeTinyModel } from 'llamero/testing';
console.log([LlamaCppProvider, LlameroError, writeTinyModel].every((value) => typeof value === 'function'));\n`,
    );
    assert.equal((await runProgram(process.execPath, [script], { cwd: folder, signal })).trim(), 'true');
  });
  // Minutes where there is no llama-server yet and it has to be built.
  await step('llamero serve, until it is ready', 900, async (signal) => {
    server = await InstalledServer.start(join(installed, 'dist/cli/main.js'), folder, signal);
  });
  await step('one chat request', 60, async (signal) => {
    const answer = (await (await chat({ stream: false }, signal)).json()) as { choices: { finish_reason: string }[] };
    assert.equal(answer.choices[0]?.finish_reason, 'length');
  });
  await step('one stream', 60, async (signal) => {
    const text = await (await chat({ stream: true }, signal)).text();
    assert.match(text, /"finish_reason":"length"/);
    assert.ok(text.trimEnd().endsWith('data: [DONE]'), text.slice(-200));
  });
  if (windows) skip('SIGTERM ends it with exit code 0, and llama-server with it: Windows has no SIGTERM');
  else {
    await step('SIGTERM ends it with exit code 0, and llama-server with it', 15, async () => {
      await server?.end();
    });
  }
} finally {
  await (server as InstalledServer | null)?.kill();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed > 0 ? 1 : 0;

/** Runs one step within its deadline; what follows a failed step could only fail too, and is skipped. */
async function step(name: string, seconds: number, work: (signal: AbortSignal) => void | Promise<void>): Promise<void> {
  if (counts.failed > 0) {
    skip(name);
    return;
  }
  const signal = AbortSignal.timeout(seconds * 1000);
  const late = once(signal, 'abort').then(() => assert.fail(`not done after ${seconds} s`));
  const startedAt = performance.now();
  try {
    await Promise.race([work(signal), late]);
    counts.passed += 1;
    console.log(`✔ ${name} (${((performance.now() - startedAt) / 1000).toFixed(1)} s)`);
  } catch (error) {
    counts.failed += 1;
    console.log(`✖ ${name}\n${error instanceof Error ? error.message : String(error)}\n${server?.log() ?? ''}`);
  }
}

function skip(name: string): void {
  counts.skipped += 1;
  console.log(`﹣ ${name}`);
}

/** The npm that runs this script, else the one on PATH. */
async function npm(args: readonly string[], cwd: string, signal: AbortSignal): Promise<void> {
  const script = process.env['npm_execpath'];
  if (script === undefined) await runProgram(windows ? 'npm.cmd' : 'npm', args, { cwd, signal });
  else await runProgram(process.execPath, [script, ...args], { cwd, signal });
}

async function chat(body: { stream: boolean }, signal: AbortSignal): Promise<Response> {
  const response = await fetch(`${server?.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }], max_tokens: 16, ...body }),
    signal,
  });
  assert.equal(response.status, 200);
  return response;
}
