import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { garbage, halfRequest } from './garbage.ts';
import { judgeAnswer, judgeRefusal, type References, type Verdict } from './judge-answer.ts';
import type { Ledger } from './ledger.ts';
import { clientPlan, type PlannedRequest } from './plan.ts';
import { writeRequest } from './requests.ts';
import type { Serve } from './serve.ts';
import { exchange, rawExchange, type Received } from './wire.ts';

/** Whoever gets no answer within this long was not answered: longer than all limits of the run together. */
const DEADLINE_MS = 45_000;
/** The light client may be kept waiting by a crash or a freeze, but not for longer. */
const LIGHT_GAP_MS = 20_000;
/** Codes that only a fault of the engine explains. */
const ENGINE_CODES =
  /^(engine_error|engine_bad_response|engine_starting|engine_unavailable|stream_interrupted|circuit_open|deadline_exceeded|poisonous_request)$/;

/** What all clients of a run share. */
export interface Scene {
  readonly serve: Serve;
  readonly ledger: Ledger;
  readonly known: References;
  readonly seed: number;
}

/** Plays one client until the signal; what it has begun by then, it ends. */
export async function playClient(scene: Scene, client: number, signal: AbortSignal): Promise<void> {
  // As programs do: connections are kept and used again.
  const agent = new Agent({ keepAlive: true });
  let number = 0;
  let servedAt = performance.now();
  try {
    for (const { requests, thinkMs } of clientPlan(scene.seed, client)) {
      if (signal.aborted) return;
      const sent = requests.map((planned) => play(scene, planned, `chaos-${scene.seed}-${client}-${number++}`, agent));
      const served = (await Promise.all(sent)).some(Boolean);
      if (served) servedAt = performance.now();
      else if (client === 0 && performance.now() - servedAt > LIGHT_GAP_MS) {
        scene.ledger.violation(`the light client was not served for ${LIGHT_GAP_MS} ms`);
        servedAt = performance.now();
      }
      await sleep(thinkMs, null, { signal }).catch(() => null);
    }
  } finally {
    agent.destroy();
  }
}

/** Sends one request and judges what came. @returns whether it was served. */
async function play(scene: Scene, planned: PlannedRequest, nonce: string, agent: Agent): Promise<boolean> {
  const { ledger } = scene;
  const { received, verdict } = await perform(scene, planned, nonce, agent);
  ledger.count(`${planned.kind === verdict.outcome ? '' : `${planned.kind}: `}${verdict.outcome}`);
  for (const problem of verdict.problems) ledger.violation(`${planned.kind} ${planned.dialect}: ${problem}`, nonce);
  const isHurried = 'x-request-timeout' in planned.headers && verdict.code === 'deadline_exceeded';
  if (verdict.code !== null && ENGINE_CODES.test(verdict.code) && !isHurried) {
    const isExplained = ledger.explains(received.startedAt, received.endedAt);
    if (!isExplained) ledger.violation(`${verdict.code} although nothing was done to the engine`, nonce);
  }
  if (planned.caller === 'light' && received.firstEventMs !== null) {
    ledger.lightFirstTokenMs.push(received.firstEventMs);
  }
  return verdict.code === null && verdict.problems.length === 0;
}

async function perform(
  { serve, ledger, known }: Scene,
  planned: PlannedRequest,
  nonce: string,
  agent: Agent,
): Promise<{ received: Received; verdict: Verdict }> {
  const { port } = serve;
  const to = { port };
  const authorization = serve.authorization[planned.caller];
  const ids = { 'x-request-id': nonce, 'content-type': 'application/json' };
  if (planned.kind === 'half') {
    const leaveMs = planned.leave !== null && 'afterMs' in planned.leave ? planned.leave.afterMs : 0;
    const received = await rawExchange(port, halfRequest(planned.prompt, authorization), leaveMs, DEADLINE_MS);
    return { received, verdict: { outcome: 'left', code: null, problems: [] } };
  }
  if (planned.kind === 'garbage') {
    const sent = garbage(planned.prompt);
    if (Buffer.isBuffer(sent)) {
      const received = await rawExchange(port, sent, null, DEADLINE_MS);
      return { received, verdict: judgeRefusal(received) };
    }
    const granted = sent.authorization ?? authorization;
    const headers = { ...ids, ...(granted === '' ? {} : { authorization: granted }), ...sent.headers };
    const received = await exchange({ to, ...sent, headers, agent, deadlineMs: DEADLINE_MS });
    return { received, verdict: judgeAnswer(planned, received, nonce, known) };
  }
  const headers = { ...ids, authorization, ...planned.headers };
  const { leave, stall } = planned;
  const onEvent = () => ledger.tokenCame();
  const sending = {
    to,
    ...writeRequest(planned, nonce),
    headers,
    agent,
    leave,
    stall,
    onEvent,
    deadlineMs: DEADLINE_MS,
  };
  const received = await exchange(sending);
  return { received, verdict: judgeAnswer(planned, received, nonce, known) };
}
