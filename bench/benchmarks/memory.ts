import type { Benchmark, BenchContext } from '../bench-context.ts';
import type { Behaviour } from '../processes/upstream.ts';
import type { Figure } from '../report.ts';
import { chatRequest, startRig, type SubjectName } from '../rig.ts';
import { shuffled, slope, standardError } from '../statistics.ts';

const KB = 1024;
const STEPS = 4;

/** Memory of streams that are open and of requests that wait for their answer. */
export const openMemory: Benchmark = {
  name: 'open-memory',
  summary: 'memory per open stream and per request in flight',
  async run(context) {
    const connections = context.quick ? 400 : 1000;
    return [
      ...(await memoryEach(context, 'open stream', { kind: 'stream', count: 0, intervalMs: 0 }, connections, 20)),
      ...(await memoryEach(context, 'request in flight', { kind: 'hold' }, connections, 10)),
    ];
  },
};

interface PerConnection {
  readonly heapKb: number;
  readonly rssKb: number;
}

/** Slope of memory over connections, in a fresh process each round: what was freed once is not given back to the system. */
async function memoryEach(
  context: BenchContext,
  title: string,
  behaviour: Behaviour,
  connections: number,
  reach: number,
): Promise<Figure[]> {
  const found: Record<'llamero' | 'bare', PerConnection[]> = { llamero: [], bare: [] };
  const rounds = context.quick ? 1 : 3;
  for (let round = 1; round <= rounds; round += 1) {
    context.progress(`${title}, round ${round} of ${rounds}`);
    for (const name of shuffled(['llamero', 'bare'] as const, context.random)) {
      found[name].push(await memoryOf(name, behaviour, connections));
    }
  }
  const values = (name: 'llamero' | 'bare', which: keyof PerConnection) => found[name].map((round) => round[which]);
  return [
    {
      name: `memory per ${title}, heap and buffers`,
      unit: 'KB',
      values: values('llamero', 'heapKb'),
      reach: { atMost: reach },
    },
    { name: `– RSS`, unit: 'KB', values: values('llamero', 'rssKb') },
    { name: '– bare proxy, heap and buffers', unit: 'KB', values: values('bare', 'heapKb') },
    { name: '– bare proxy, RSS', unit: 'KB', values: values('bare', 'rssKb') },
  ];
}

async function memoryOf(name: SubjectName, behaviour: Behaviour, connections: number): Promise<PerConnection> {
  await using rig = await startRig([name], { slots: connections });
  const [subject] = rig.subjects;
  if (subject?.gateway == null) throw new Error(`${name} has no process of its own`);
  await rig.run(subject, { connections: 8, requests: 400, body: chatRequest({ kind: 'whole' }) });
  const heap: [number, number][] = [];
  const rss: [number, number][] = [];
  const body = chatRequest(behaviour);
  for (let step = 0; step <= STEPS; step += 1) {
    const count = (step * connections) / STEPS;
    if (step > 0) {
      const untilFirstByte = behaviour.kind === 'stream';
      await rig.hold(subject, { connections: connections / STEPS, body, untilFirstByte });
      if (behaviour.kind === 'hold') await rig.untilInHand(count);
    }
    const { heapBytes, rssBytes } = await subject.gateway.usage(true);
    heap.push([count, heapBytes]);
    rss.push([count, rssBytes]);
  }
  await rig.letGo();
  return { heapKb: slope(heap) / KB, rssKb: slope(rss) / KB };
}

const LARGE_BATCH = 8000;
const SMALL_BATCH = 200;

/** Whether anything stays behind. */
export const heapGrowth: Benchmark = {
  name: 'heap-growth',
  summary: 'what requests leave on the heap',
  async run({ quick, random, progress }) {
    await using rig = await startRig(['llamero']);
    const [subject] = rig.subjects;
    if (subject?.gateway == null) throw new Error('llamero has no process of its own');
    const { gateway } = subject;
    const send = (requests: number) =>
      rig.run(subject, { connections: 32, requests, body: chatRequest({ kind: 'whole' }) });
    const growth = async (requests: number): Promise<number> => {
      const before = await gateway.usage(true);
      await send(requests);
      return ((await gateway.usage(true)).heapBytes - before.heapBytes) / KB;
    };
    progress('warming up');
    await send(2 * LARGE_BATCH);
    // Looking at the heap, opening connections and V8's own learning leave something too, in a small batch as in a large one.
    const pairs = quick ? 3 : 13;
    const perThousand: number[] = [];
    for (let pair = 1; pair <= pairs; pair += 1) {
      progress(`${pair * LARGE_BATCH} of ${pairs * LARGE_BATCH} requests`);
      const grown = new Map<number, number>();
      for (const requests of shuffled([LARGE_BATCH, SMALL_BATCH], random)) grown.set(requests, await growth(requests));
      const difference = (grown.get(LARGE_BATCH) ?? 0) - (grown.get(SMALL_BATCH) ?? 0);
      perThousand.push((difference * 1000) / (LARGE_BATCH - SMALL_BATCH));
    }
    const error = standardError(perThousand);
    return [
      {
        name: `heap growth, ${pairs * LARGE_BATCH} requests`,
        unit: 'KB per 1,000',
        values: perThousand,
        // Zero within its error.
        reach: { atMost: Number((2 * error).toPrecision(2)) },
        note: `standard error ${error.toPrecision(2)}`,
      },
    ];
  },
};
