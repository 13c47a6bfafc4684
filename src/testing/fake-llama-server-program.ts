/**
 * The double of llama-server as a program: same command line, same dialect, same log, same endings. Started by
 * `startFakeLlamaServer` and by the command that `writeFakeLlamaServerCommand` makes; see docs/testing.md.
 */
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { endProcess } from './fake/answer.ts';
import { parseFakeServerArguments, type FakeServerArguments } from './fake/arguments.ts';
import { CountersFile } from './fake/counters-file.ts';
import { FakeServerLog } from './fake/log.ts';
import { FakeServer } from './fake/server.ts';
import { faultsOfStart, type FakeServerFaults, type FakeServerSettings } from './fake/settings.ts';
import { startFailure } from './fake/start-failures.ts';

const PROGRESS_INTERVAL_MS = 50;
const FLOOD_LINE_BYTES = 1024;
const FLOOD_LINES_PER_WRITE = 64;

const log = new FakeServerLog();
const options = parseFakeServerArguments(process.argv.slice(2));
log.info('srv  llama_server: initializing ...');
if (options.version) {
  log.raw('version: 0.5.0-dev (build 1, commit de3ff81)');
  log.raw('built with GNU 12.2.0 for Linux x86_64');
} else {
  await serve(options, readSettings(options.settings));
}

function readSettings(path: string | null): FakeServerSettings {
  const defaults = {
    faults: {},
    tokensPerSecond: 0,
    prefillMs: 0,
    prefillSteps: 1,
    pingMs: 30_000,
    replyTokens: 32,
    tokens: null,
    stateDirectory: tmpdir(),
  };
  if (path === null) return defaults;
  return { ...defaults, ...(JSON.parse(readFileSync(path, 'utf8')) as Partial<FakeServerSettings>) };
}

async function serve(server: FakeServerArguments, settings: FakeServerSettings): Promise<void> {
  const counters = new CountersFile(settings.stateDirectory);
  const faults = faultsOfStart(settings.faults, counters.values.starts);
  log.info('cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)');
  if (faults.startFailure !== undefined) return failStart(faults.startFailure, server);
  await sleep(faults.listenAfterMs ?? 0);

  const fake = new FakeServer({ options: server, settings, faults, counters, log });
  process.on('exit', () => counters.flush());
  handleSignals(fake, faults);
  watchParent();
  const address = await listen(fake, server);
  if (address === null) return;
  log.info(`srv    load_model: loading model '${server.model}'`);
  if (faults.neverReady === true && faults.endAfterMs !== undefined) endLater(faults.endAfterMs);
  await load(faults);
  fake.ready = true;
  const { slots, contextLength } = server;
  log.info(`srv    load_model: initializing, n_slots = ${slots}, n_ctx_slot = ${contextLength}, kv_unified = 'false'`);
  log.info('srv  llama_server: model loaded');
  log.info(`srv  llama_server: listening on ${address}`);
  tellParent('ready', { id: server.alias });
  if (faults.endAfterMs !== undefined) endLater(faults.endAfterMs);
  await flood(faults);
}

function failStart(name: NonNullable<FakeServerFaults['startFailure']>, server: FakeServerArguments): void {
  const failure = startFailure(name, server);
  for (const [level, text] of failure.lines) {
    if (level === 'raw') log.raw(text);
    else if (level === 'I') log.info(text);
    else log.error(text);
  }
  endProcess(failure);
}

/** The address, or null if it is taken: then the process ends as the real one does. */
async function listen(fake: FakeServer, server: FakeServerArguments): Promise<string | null> {
  try {
    return await fake.listen();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    failStart('port_taken', server);
    return null;
  }
}

async function load(faults: FakeServerFaults): Promise<void> {
  const until = faults.neverReady === true ? Number.POSITIVE_INFINITY : performance.now() + (faults.loadMs ?? 0);
  for (let tensors = 1; performance.now() < until; tensors += 1) {
    if (faults.loadProgress !== false) {
      log.info(`load_tensors: layer ${tensors} assigned to device CPU, is_swa = 0`);
      tellParent('loading', { stages: ['text_model'], current: 'text_model', value: 1 - 1 / tensors });
    }
    await sleep(Math.min(PROGRESS_INTERVAL_MS, until - performance.now()));
  }
}

/** One signal: end if idle, else decode nothing more and stay. The second one ends at once. */
function handleSignals(fake: FakeServer, faults: FakeServerFaults): void {
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (signal === 'SIGTERM' && faults.ignoreSigterm === true) return;
    if (stopping) {
      log.raw('Received second interrupt, terminating immediately.');
      process.exit(1);
    }
    // While it loads, the real server has no handler yet and dies of the signal.
    if (!fake.ready) return endProcess({ signal });
    stopping = true;
    if (!fake.stop()) return;
    log.info('srv    operator(): operator(): cleaning up before exit...');
    process.exit(0);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}

/** With this variable the real server takes itself for the child of a router: it tells its state, and ends with its parent. */
function isRouterChild(): boolean {
  return process.env['LLAMA_SERVER_ROUTER_PORT'] !== undefined;
}

function tellParent(state: string, payload: unknown): void {
  if (isRouterChild()) process.stdout.write(`\ncmd_child_to_router:state:${JSON.stringify({ state, payload })}\n`);
}

function watchParent(): void {
  if (!isRouterChild()) return;
  process.stdin.resume();
  process.stdin.once('end', () => {
    log.info('srv    operator(): EOF on stdin detected, forcing shutdown...');
    process.exit(1);
  });
}

function endLater({ ms, ...end }: NonNullable<FakeServerFaults['endAfterMs']>): void {
  setTimeout(() => endProcess(end), ms);
}

async function flood({ logFloodBytes = 0, logFloodOneLine = false }: FakeServerFaults): Promise<void> {
  const line = 'x'.repeat(FLOOD_LINE_BYTES - 1) + (logFloodOneLine ? 'x' : '\n');
  const block = line.repeat(FLOOD_LINES_PER_WRITE);
  for (let left = logFloodBytes; left > 0; left -= block.length) {
    const { promise, resolve } = Promise.withResolvers<void>();
    process.stderr.write(block.slice(0, left), () => resolve());
    await promise;
  }
}
