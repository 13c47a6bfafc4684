import { access } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Scene } from './clients.ts';
import { judgeAnswer } from './judge-answer.ts';
import { DIALECTS, LONGEST_ANSWER, PROMPTS } from './plan.ts';
import { ownRequest } from './references.ts';
import { writeRequest } from './requests.ts';
import { directoryOf } from './serve-log.ts';
import { exchange } from './wire.ts';

const DEADLINE_MS = 30_000;
const BEGIN_MS = 5000;
const LOOK_MS = 20;

/** Ends llamero while requests run, which are answered nevertheless, and looks whether it leaves anything behind. */
export async function checkEnd(scene: Scene, enginePids: ReadonlySet<number>): Promise<void> {
  const { serve, ledger } = scene;
  const last = DIALECTS.flatMap((dialect, number) => [
    askLast(scene, { kind: 'stream', dialect, prompt: number % PROMPTS, tokens: LONGEST_ANSWER }),
    askLast(scene, { kind: 'whole', dialect, prompt: number % PROMPTS, tokens: LONGEST_ANSWER }),
  ]);
  const deadline = performance.now() + BEGIN_MS;
  while ((await serve.status()).inFlight < last.length && performance.now() < deadline) await sleep(LOOK_MS);
  const [end] = await Promise.all([serve.stop(), ...last]);
  if (end !== '0') ledger.violation(`llamero ended with ${end ?? 'SIGKILL only'}`);
  for (const pid of enginePids) if (isAlive(pid)) ledger.violation(`an engine is left behind: process ${pid}`);
  for (const engine of serve.log.engines) {
    const directory = directoryOf(engine);
    if (directory !== null && (await exists(directory))) {
      ledger.violation(`the directory of engine ${engine.generation} is left behind`);
    }
  }
}

/** It may be answered, or told that llamero is going; nothing else. */
async function askLast({ serve, ledger, known }: Scene, part: Parameters<typeof ownRequest>[0]): Promise<void> {
  const planned = ownRequest(part);
  const nonce = `chaos-last-${part.kind}-${part.dialect}`;
  const headers = {
    authorization: serve.authorization.plain,
    'content-type': 'application/json',
    'x-request-id': nonce,
  };
  const sending = { to: { port: serve.port }, ...writeRequest(planned, nonce), headers, deadlineMs: DEADLINE_MS };
  const { problems, code, outcome } = judgeAnswer(planned, await exchange(sending), nonce, known);
  ledger.count(`at the end: ${outcome}`);
  for (const problem of problems) ledger.violation(`at the end: ${problem}`, nonce);
  if (code !== null && code !== 'engine_unavailable') ledger.violation(`${code} at the end`, nonce);
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    // It is gone, as it should be.
    return false;
  }
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
