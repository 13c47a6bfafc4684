import type { Scene } from './clients.ts';
import { type EngineCounters, engineCounters } from './engine-view.ts';
import { judgeAnswer } from './judge-answer.ts';
import { DIALECTS, PROMPTS } from './plan.ts';
import { ownRequest } from './references.ts';
import { writeRequest } from './requests.ts';
import type { ServeStatus } from './serve.ts';
import { exchange } from './wire.ts';

const DEADLINE_MS = 30_000;
const QUIET_TOKENS = 40;
/** Weights of `fairness`, as they are by default. */
const WEIGHTS = { prompt: 1, cached: 0.1, generated: 2 };
const ROUNDING = 1e-6;

/** In quiet, what llamero accounts is what the engine says that it did. */
export async function checkCounters(scene: Scene, rounds: number): Promise<void> {
  const { serve, ledger } = scene;
  const { socketPath } = serve.log.present();
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
      const received = await exchange({ ...sending, headers: { ...headers, 'x-request-id': nonce } });
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

function serviceOf({ fairness }: ServeStatus): number {
  return fairness.classes.reduce((sum, { service }) => sum + service, 0);
}
