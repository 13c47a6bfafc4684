import type { Benchmark, BenchContext } from '../bench-context.ts';
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

/** What relaying one token costs, by how tokens arrive. The slots of an engine move in step: it decodes them as one batch. */
export const frames: Benchmark = {
  name: 'frames',
  summary: `CPU per server-sent event of ${STREAMS} streams`,
  async run(context) {
    const { quick } = context;
    return [
      ...(await cpuPerFrame(context, '500/s each', { count: quick ? 200 : 600, intervalMs: 2 }, 20)),
      ...(await cpuPerFrame(context, 'in bursts', { count: quick ? 1024 : 4096, intervalMs: 0 }, 20)),
      // Mostly idle: what waking up costs is shared by few. No proxy reaches 20 µs here, as the pipe shows.
      ...(await cpuPerFrame(context, '50/s each', { count: quick ? 30 : 60, intervalMs: 20 })),
    ];
  },
};

async function cpuPerFrame(
  context: BenchContext,
  title: string,
  pace: { count: number; intervalMs: number },
  reach?: number,
): Promise<Figure[]> {
  await using rig = await startRig(['llamero', 'bare', 'pipe']);
  const body = chatRequest({ kind: 'stream', ...pace });
  const measured = await interleaved(context, rig.subjects, async (subject) => {
    const before = await subject.gateway?.usage();
    const job = { connections: STREAMS, requests: STREAMS, body, events: pace.count + CLOSING_EVENTS };
    const { events } = await rig.run(subject, job);
    const after = await subject.gateway?.usage();
    return ((after?.cpuMicros ?? 0) - (before?.cpuMicros ?? 0)) / events;
  });
  const of = (name: 'llamero' | 'bare' | 'pipe') => each(measured, name, (micros) => micros);
  return [
    {
      name: `CPU per SSE frame, ${STREAMS} streams, ${title}`,
      unit: 'µs',
      values: of('llamero'),
      ...(reach === undefined ? {} : { reach: { atMost: reach } }),
    },
    { name: '– bare proxy', unit: 'µs', values: of('bare') },
    { name: '– a pipe of bytes', unit: 'µs', values: of('pipe') },
  ];
}
