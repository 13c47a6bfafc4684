import { setTimeout as sleep } from 'node:timers/promises';
import { LEASES } from './callers.ts';
import type { Scene } from './clients.ts';
import { checkCounters } from './counters.ts';
import { busySlots, engineCounters } from './engine-view.ts';
import { judgeAnswer } from './judge-answer.ts';
import { ownRequest } from './references.ts';
import { writeRequest } from './requests.ts';
import type { ServeStatus } from './serve.ts';
import { exchange } from './wire.ts';

/** Whatever is left of the run has to be gone this soon. */
const SETTLE_MS = 20_000;
const LOOK_MS = 1600;
const DEADLINE_MS = 30_000;
const LEASED_TOKENS = 60;

/** What has to hold when all clients are gone: nothing is held by anybody, and nothing was counted wrongly. */
export async function checkAftermath(scene: Scene, rounds: number): Promise<void> {
  await checkNothingIsHeld(scene);
  await checkLeases(scene);
  await checkCounters(scene, rounds);
  await checkNothingIsHeld(scene);
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
  const { socketPath } = serve.log.present();
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

/** By its log, llamero has settled each request that it began, and none twice. */
export function checkEachEndedOnce({ serve, ledger }: Scene): void {
  let count = 0;
  for (const [id, { begun, ended }] of serve.log.requests) {
    count += 1;
    if (begun !== 1 || ended !== 1) ledger.violation(`begun ${begun} times, ended ${ended} times`, id);
  }
  ledger.notes['requests in the pipeline'] = count;
}
