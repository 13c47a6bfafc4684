import type { Benchmark, BenchContext } from '../bench-context.ts';
import type { Behaviour } from '../processes/upstream.ts';
import type { Figure } from '../report.ts';
import { chatRequest, startRig } from '../rig.ts';
import { each, interleaved, paired } from '../rounds.ts';
import { percentile } from '../statistics.ts';

/** Events of an answer beyond its tokens: the one with the timings, and `[DONE]`. */
const CLOSING_EVENTS = 2;

/** How long the first token takes. */
export const firstToken: Benchmark = {
  name: 'first-token',
  summary: 'added time to the first token of a stream',
  async run(context) {
    await using rig = await startRig(['direct', 'llamero', 'bare']);
    const requests = context.quick ? 400 : 1200;
    const count = 4;
    const body = chatRequest({ kind: 'stream', count, intervalMs: 0 });
    const measured = await interleaved(context, rig.subjects, async (subject) => {
      const job = { connections: 1, requests, body, events: count + CLOSING_EVENTS };
      const { firstMs } = await rig.run(subject, job);
      return { p50: percentile(firstMs, 0.5), p99: percentile(firstMs, 0.99) };
    });
    const p50 = (name: 'llamero' | 'bare') => paired(measured, name, 'direct', (one, direct) => one.p50 - direct.p50);
    return [
      { name: 'added time to first token, p50', unit: 'ms', values: p50('llamero'), reach: { atMost: 0.5 } },
      {
        name: '– p99',
        unit: 'ms',
        values: paired(measured, 'llamero', 'direct', (one, direct) => one.p99 - direct.p99),
      },
      { name: '– bare proxy, p50', unit: 'ms', values: p50('bare') },
    ];
  },
};

const STREAMS = 32;
const INTERVAL_MS = 20;

/** What relaying one token costs, by how tokens arrive. */
export const frames: Benchmark = {
  name: 'frames',
  summary: `CPU per server-sent event: ${STREAMS} streams of ${1000 / INTERVAL_MS} tokens/s, and as fast as they go`,
  async run(context) {
    const paced = context.quick ? 50 : 75;
    const poured = context.quick ? 2048 : 4096;
    return [
      // The slots of an engine are decoded as one batch: all streams get their token at the same moment.
      ...(await cpuPerFrame(
        context,
        'all streams in step',
        { kind: 'stream', count: paced, intervalMs: INTERVAL_MS },
        20,
      )),
      ...(await cpuPerFrame(context, 'one by one', {
        kind: 'stream',
        count: paced,
        intervalMs: INTERVAL_MS,
        staggered: true,
      })),
      ...(await cpuPerFrame(context, 'in bursts', { kind: 'stream', count: poured, intervalMs: 0 }, 20)),
    ];
  },
};

async function cpuPerFrame(
  context: BenchContext,
  title: string,
  behaviour: Behaviour & { kind: 'stream' },
  reach?: number,
): Promise<Figure[]> {
  await using rig = await startRig(['llamero', 'bare']);
  const body = chatRequest(behaviour);
  const measured = await interleaved(context, rig.subjects, async (subject) => {
    const before = await subject.gateway?.usage();
    const job = { connections: STREAMS, requests: STREAMS, body, events: behaviour.count + CLOSING_EVENTS };
    const { events } = await rig.run(subject, job);
    const after = await subject.gateway?.usage();
    return ((after?.cpuMicros ?? 0) - (before?.cpuMicros ?? 0)) / events;
  });
  return [
    {
      name: `CPU per SSE frame, ${title}`,
      unit: 'µs',
      values: each(measured, 'llamero', (micros) => micros),
      ...(reach === undefined ? {} : { reach: { atMost: reach } }),
    },
    { name: '– bare proxy', unit: 'µs', values: each(measured, 'bare', (micros) => micros) },
  ];
}
