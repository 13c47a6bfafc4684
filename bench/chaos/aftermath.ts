import { access } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { LEASES } from './callers.ts';
import type { Scene } from './clients.ts';
import { busySlots, type EngineCounters, engineCounters } from './engine-view.ts';
import { DIALECTS, PROMPTS } from './plan.ts';
import { judgeAnswer } from './judge-answer.ts';
import { ownRequest } from './references.ts';
import { writeRequest } from './requests.ts';
import { directoryOf, type LoggedEngine } from './serve-log.ts';
import type { Serve, ServeStatus } from './serve.ts';
import { exchange, type Received } from './wire.ts';

/** Whatever is left of the run has to be gone this soon. */
const SETTLE_MS = 20_000;
const LOOK_MS = 1600;
const DEADLINE_MS = 30_000;
const QUIET_TOKENS = 40;
const LEASED_TOKENS = 60;
/** Weights of `fairness`, as they are by default. */
const WEIGHTS = { prompt: 1, cached: 0.1, generated: 2 };
const ROUNDING = 1e-6;

/** What has to hold when all clients are gone: nothing is held by anybody, and nothing was counted wrongly. */
export async function checkAftermath(scene: Scene, rounds: number): Promise<void> {
  await checkNothingIsHeld(scene);
  await checkLeases(scene);
  await checkCounters(scene, rounds);
  await checkNothingIsHeld(scene);
  checkEachEndedOnce(scene);
}

/** Ends llamero, and looks whether it leaves anything behind. */
export async function checkEnd({ serve, ledger }: Scene, enginePids: ReadonlySet<number>): Promise<void> {
  const end = await serve.stop();
  if (end !== '0') ledger.violation(`llamero ended with ${end ?? 'SIGKILL only'}`);
  for (const pid of enginePids) if (isAlive(pid)) ledger.violation(`an engine is left behind: process ${pid}`);
  for (const engine of serve.log.engines) {
    const directory = directoryOf(engine);
    const isThere =
      directory !== null &&
      (await access(directory).then(
        () => true,
        () => false,
      ));
    if (isThere) ledger.violation(`the directory of engine ${engine.generation} is left behind`);
  }
}

async function checkNothingIsHeld({ serve, ledger }: Scene): Promise<void> {
  const deadline = performance.now() + SETTLE_MS;
  let status = await serve.status();
  while (performance.now() < deadline && (holds(status) || status.state !== 'ready')) {
    await sleep(LOOK_MS / 4);
    status = await serve.status();
  }
  if (holds(status)) ledger.violation(`still held: ${JSON.stringify(status)}`);
  if (status.state !== 'ready') ledger.violation(`the engine is ${status.state}`);
  const { socketPath } = presentEngine(serve);
  let busy = await busySlots(socketPath);
  while (performance.now() < deadline && busy !== 0) {
    await sleep(LOOK_MS);
    busy = await busySlots(socketPath);
  }
  if (busy !== 0) ledger.violation(`${busy} slots of the engine are at work for nobody`);
  const deferred = (await engineCounters(socketPath))?.deferred;
  if (deferred !== 0) ledger.violation(`${deferred} requests are left in the engine's own queue`);
}

function holds({ inFlight, queued, slotsInUse, gateway }: ServeStatus): boolean {
  return [inFlight, queued, slotsInUse, gateway.requests, gateway.openAnswers].some((count) => count !== 0);
}

/** Who may have so many requests at once gets as many as ever. */
async function checkLeases({ serve, ledger, known }: Scene): Promise<void> {
  const planned = ownRequest({ kind: 'stream', dialect: 'chat', prompt: 0, tokens: LEASED_TOKENS });
  const headers = { authorization: serve.authorization.leased, 'content-type': 'application/json' };
  const asked = Array.from({ length: LEASES + 1 }, async (_, number) => {
    const nonce = `chaos-lease-${number}`;
    const sending = { to: { port: serve.port }, ...writeRequest(planned, nonce), deadlineMs: DEADLINE_MS };
    const received = await exchange({ ...sending, headers: { ...headers, 'x-request-id': nonce } });
    for (const problem of judgeAnswer(planned, received, nonce, known).problems) ledger.violation(problem, nonce);
    return received.status;
  });
  const statuses = (await Promise.all(asked)).toSorted((one, other) => one - other).join();
  const expected = [...Array.from({ length: LEASES }, () => 200), 429].join();
  if (statuses !== expected) ledger.violation(`leases are left: ${statuses} instead of ${expected}`);
}

/** In quiet, what llamero accounts is what the engine says that it did. */
async function checkCounters(scene: Scene, rounds: number): Promise<void> {
  const { serve, ledger } = scene;
  const { socketPath } = presentEngine(serve);
  const [before, serviceBefore] = [await engineCounters(socketPath), serviceOf(await serve.status())];
  const accounted = await quietRequests(scene, rounds);
  const [after, serviceAfter] = [await engineCounters(socketPath), serviceOf(await serve.status())];
  if (before === null || after === null) {
    ledger.violation('the engine does not tell its counters');
    return;
  }
  const { promptTokens, cachedTokens, generatedTokens } = accounted;
  for (const name of ['promptTokens', 'cachedTokens', 'generatedTokens'] as const) {
    const done = after[name] - before[name];
    ledger.notes[`quiet: ${name}`] = done;
    if (done !== accounted[name])
      ledger.violation(`${name}: llamero accounts ${accounted[name]}, the engine did ${done}`);
  }
  const service = promptTokens * WEIGHTS.prompt + cachedTokens * WEIGHTS.cached + generatedTokens * WEIGHTS.generated;
  if (Math.abs(serviceAfter - serviceBefore - service) > ROUNDING * service) {
    ledger.violation(`fairness: ${serviceAfter - serviceBefore} of service were charged for ${service}`);
  }
}

async function quietRequests(
  { serve, ledger, known }: Scene,
  rounds: number,
): Promise<Omit<EngineCounters, 'deferred'>> {
  const headers = { authorization: serve.authorization.plain, 'content-type': 'application/json' };
  const sum = { promptTokens: 0, cachedTokens: 0, generatedTokens: 0 };
  for (let round = 0; round < rounds; round += 1) {
    const all = DIALECTS.flatMap((dialect) => (['stream', 'whole'] as const).map((kind) => ({ dialect, kind })));
    const asked = all.map(async (part, number) => {
      const nonce = `chaos-quiet-${round}-${number}`;
      const planned = ownRequest({ ...part, prompt: (round + number) % PROMPTS, tokens: QUIET_TOKENS });
      const sending = { to: { port: serve.port }, ...writeRequest(planned, nonce), deadlineMs: DEADLINE_MS };
      const received: Received = await exchange({ ...sending, headers: { ...headers, 'x-request-id': nonce } });
      const { problems, code } = judgeAnswer(planned, received, nonce, known);
      for (const problem of problems) ledger.violation(problem, nonce);
      if (code !== null) ledger.violation(`${code} in quiet`, nonce);
      return nonce;
    });
    for (const nonce of await Promise.all(asked)) {
      const usage = await serve.log.usageOf(nonce, DEADLINE_MS);
      if (usage === null) ledger.violation('llamero does not know what the request has cost', nonce);
      sum.promptTokens += (usage?.promptTokens ?? 0) - (usage?.cachedTokens ?? 0);
      sum.cachedTokens += usage?.cachedTokens ?? 0;
      sum.generatedTokens += usage?.completionTokens ?? 0;
    }
  }
  return sum;
}

/** By its log, llamero has settled each request that it began, and none twice. */
function checkEachEndedOnce({ serve, ledger }: Scene): void {
  let count = 0;
  for (const [id, { begun, ended }] of serve.log.requests) {
    count += 1;
    if (begun !== 1 || ended !== 1) ledger.violation(`begun ${begun} times, ended ${ended} times`, id);
  }
  ledger.notes['requests in the pipeline'] = count;
}

function presentEngine(serve: Serve): LoggedEngine & { readonly socketPath: string } {
  const engine = serve.log.engines.at(-1);
  if (engine?.socketPath == null) throw new Error('the log does not tell where the engine listens');
  return { ...engine, socketPath: engine.socketPath };
}

function serviceOf({ fairness }: ServeStatus): number {
  return fairness.classes.reduce((sum, { service }) => sum + service, 0);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // There is no such process any more.
    return false;
  }
}
