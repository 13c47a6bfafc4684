import { setTimeout as sleep } from 'node:timers/promises';
import type { Benchmark } from '../bench-context.ts';
import { LoadConnection } from '../processes/load-connection.ts';
import { requestBytes } from '../processes/request-bytes.ts';
import { findEngine, type RealEngine, startEngine, temporaryModel } from '../real-engine.ts';
import { startRig, type Subject } from '../rig.ts';
import { each, interleaved, paired } from '../rounds.ts';
import { median } from '../statistics.ts';

const SLOTS = 4;
/** Twice as many callers as slots: a slot that becomes free always has somebody waiting for it. */
const CALLERS = 8;
const TOKENS = 64;

/** Whether an engine that has all it can do does less of it behind llamero. */
export const saturatedEngine: Benchmark = {
  name: 'saturated-engine',
  summary: `tokens per second of a real engine with ${SLOTS} slots and ${CALLERS} callers, direct and through llamero`,
  async run(context) {
    const command = await findEngine();
    await using stack = new AsyncDisposableStack();
    // About 500 tokens per second in all on one core.
    const model = await temporaryModel(stack, { ballastBytes: 30_000_000 });
    const engine = stack.use(await startEngine(command, model, SLOTS));
    const rig = stack.use(await startRig(['direct', 'llamero'], { slots: SLOTS, upstreamPort: engine.port }));
    const requests = context.quick ? 8 : 32;
    const measured = await interleaved(context, rig.subjects, async (subject) => {
      const { elapsedMs } = await rig.run(subject, { connections: CALLERS, requests, body: story(TOKENS) });
      return (requests * TOKENS * 1000) / elapsedMs;
    });
    return [
      {
        name: 'throughput of a saturated engine, llamero ÷ direct',
        unit: '',
        values: paired(measured, 'llamero', 'direct', (through, direct) => through / direct),
        reach: { atLeast: 0.98 },
      },
      { name: '– llamero', unit: 'tokens/s', values: each(measured, 'llamero', (speed) => speed) },
      { name: '– direct', unit: 'tokens/s', values: each(measured, 'direct', (speed) => speed) },
    ];
  },
};

/** How soon the slot of a client that went away can be used again. */
export const clientGone: Benchmark = {
  name: 'client-gone',
  summary: 'from the closing of the client’s socket until the engine says that the slot is free',
  async run(context) {
    const command = await findEngine();
    await using stack = new AsyncDisposableStack();
    const model = await temporaryModel(stack, { preset: 'slow' });
    const engine = stack.use(await startEngine(command, model, 1));
    const rig = stack.use(await startRig(['direct', 'llamero'], { slots: 1, upstreamPort: engine.port }));
    const measured = await interleaved(context, rig.subjects, async (subject) => {
      const times: number[] = [];
      for (let time = 0; time < (context.quick ? 2 : 5); time += 1) times.push(await untilSlotFree(subject, engine));
      return median(times);
    });
    return [
      {
        name: 'client gone → slot free',
        unit: 'ms',
        values: each(measured, 'llamero', (ms) => ms),
        reach: { atMost: 100 },
      },
      { name: '– direct', unit: 'ms', values: each(measured, 'direct', (ms) => ms) },
    ];
  },
};

async function untilSlotFree(subject: Subject, engine: RealEngine): Promise<number> {
  const connection = await LoadConnection.open(subject.port);
  await new Promise<void>((resolve) => connection.send(requestBytes(story(2000)), () => undefined, resolve));
  while (!(await isBusy(engine))) await sleep(1);
  const goneAt = performance.now();
  connection.close();
  while (await isBusy(engine)) await sleep(1);
  return performance.now() - goneAt;
}

async function isBusy({ client }: RealEngine): Promise<boolean> {
  const { body } = await client.request({ path: '/slots', method: 'GET' });
  const slots = (await body.json()) as { is_processing: boolean }[];
  return slots.some((slot) => slot.is_processing);
}

function story(tokens: number): Record<string, unknown> {
  return {
    messages: [{ role: 'user', content: 'Tell me a story.' }],
    max_tokens: tokens,
    stream: true,
    ignore_eos: true,
    cache_prompt: false,
  };
}
