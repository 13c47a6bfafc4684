import type { BenchContext, Benchmark } from '../bench-context.ts';
import { chatRequest, startRig, type Subject } from '../rig.ts';
import { each, interleaved, paired } from '../rounds.ts';
import { percentile } from '../statistics.ts';

const BODY = chatRequest({ kind: 'whole' });

/** Pairs that are close in time suffer less from whatever else the machine does, so here rounds are many and short. */
function shortRounds(context: BenchContext): BenchContext {
  return { ...context, rounds: context.rounds * 3 };
}

/** One request at a time: what llamero adds to each. */
export const jsonLatency: Benchmark = {
  name: 'json-latency',
  summary: 'added latency of an answer of 1 KB, one request at a time',
  async run(context) {
    await using rig = await startRig(['direct', 'llamero', 'llamero-keys', 'bare']);
    const requests = context.quick ? 500 : 1000;
    const measured = await interleaved(shortRounds(context), rig.subjects, async (subject) => {
      const { totalMs } = await rig.run(subject, { connections: 1, requests, body: BODY });
      return { p50: percentile(totalMs, 0.5), p99: percentile(totalMs, 0.99) };
    });
    const added = (name: Subject['name'], which: 'p50' | 'p99'): number[] =>
      paired(measured, name, 'direct', (through, direct) => through[which] - direct[which]);
    return [
      { name: 'added latency, JSON, c=1, p50', unit: 'ms', values: added('llamero', 'p50'), reach: { atMost: 0.3 } },
      { name: 'added latency, JSON, c=1, p99', unit: 'ms', values: added('llamero', 'p99'), reach: { atMost: 2 } },
      { name: '– with API keys, p50', unit: 'ms', values: added('llamero-keys', 'p50') },
      { name: '– bare proxy, p50', unit: 'ms', values: added('bare', 'p50') },
      { name: '– bare proxy, p99', unit: 'ms', values: added('bare', 'p99') },
      { name: '– direct, p50 of the whole', unit: 'ms', values: each(measured, 'direct', ({ p50 }) => p50) },
    ];
  },
};

const CONNECTIONS = 32;
/** While the others had their turn, its code and data left the caches and its young generation was made small. */
const RUN_IN_MS = 400;

/** As many requests as one core can take. */
export const jsonThroughput: Benchmark = {
  name: 'json-throughput',
  summary: `requests per second and CPU per request, ${CONNECTIONS} connections`,
  async run(context) {
    await using rig = await startRig(['llamero', 'llamero-keys', 'bare']);
    const durationMs = context.quick ? 300 : 700;
    const measured = await interleaved(shortRounds(context), rig.subjects, async (subject) => {
      await rig.run(subject, { connections: CONNECTIONS, durationMs: RUN_IN_MS, body: BODY });
      const before = await subject.gateway?.usage();
      const { requests, elapsedMs } = await rig.run(subject, { connections: CONNECTIONS, durationMs, body: BODY });
      const after = await subject.gateway?.usage();
      return {
        perSecond: (requests / elapsedMs) * 1000,
        cpuMicros: ((after?.cpuMicros ?? 0) - (before?.cpuMicros ?? 0)) / requests,
        rssMb: (after?.rssBytes ?? 0) / 1024 ** 2,
      };
    });
    const ratio = (name: Subject['name']): number[] =>
      paired(measured, name, 'bare', (through, bare) => through.perSecond / bare.perSecond);
    return [
      {
        name: `requests/s, c=${CONNECTIONS}, llamero ÷ bare proxy`,
        unit: '',
        values: ratio('llamero'),
        reach: { atLeast: 0.75 },
      },
      { name: '– with API keys ÷ bare proxy', unit: '', values: ratio('llamero-keys') },
      { name: '– llamero', unit: 'requests/s', values: each(measured, 'llamero', ({ perSecond }) => perSecond) },
      { name: '– bare proxy', unit: 'requests/s', values: each(measured, 'bare', ({ perSecond }) => perSecond) },
      {
        name: '– CPU per request, llamero',
        unit: 'µs',
        values: each(measured, 'llamero', ({ cpuMicros }) => cpuMicros),
      },
      {
        name: '– CPU per request, bare proxy',
        unit: 'µs',
        values: each(measured, 'bare', ({ cpuMicros }) => cpuMicros),
      },
      { name: '– RSS under this load, llamero', unit: 'MB', values: each(measured, 'llamero', ({ rssMb }) => rssMb) },
      { name: '– RSS under this load, bare proxy', unit: 'MB', values: each(measured, 'bare', ({ rssMb }) => rssMb) },
    ];
  },
};
