import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { IdsJournal } from '../../src/core/openai/continuation/ids-journal.ts';
import type { StreamJournal } from '../../src/core/openai/continuation/continuation.ts';
import { ReplayJournal } from '../../src/core/openai/continuation/replay-journal.ts';
import { TextJournal } from '../../src/core/openai/continuation/text-journal.ts';
import type { Benchmark, BenchContext } from '../bench-context.ts';
import type { Figure } from '../report.ts';
import { chatRequest, startRig } from '../rig.ts';
import { median, shuffled } from '../statistics.ts';

const STREAMS = 32;
/** Events of an answer beyond its tokens: the one with the timings, and `[DONE]`. */
const CLOSING_EVENTS = 2;

/** What it costs that streams could go on, while none has to. */
export const continuationCost: Benchmark = {
  name: 'continuation-cost',
  summary: 'CPU per server-sent event, and memory per stream, for being able to go on',
  async run(context) {
    return [...(await cpuPerFrame(context)), ...journals(context)];
  },
};

/** The same gateway with and without, asked in turns: what is compared is one process with itself. */
async function cpuPerFrame({ rounds, random, quick, progress }: BenchContext): Promise<Figure[]> {
  await using rig = await startRig(['llamero']);
  const [llamero] = rig.subjects;
  if (llamero === undefined) throw new Error('llamero is not in the rig');
  const count = quick ? 200 : 600;
  const body = chatRequest({ kind: 'stream', count, intervalMs: 2 });
  const micros: Record<'fast' | 'off', number[]> = { fast: [], off: [] };
  for (let round = 0; round <= rounds; round += 1) {
    progress(round === 0 ? 'warming up' : `round ${round} of ${rounds}`);
    for (const mode of shuffled(['fast', 'off'] as const, random)) {
      const subject = { ...llamero, headers: { 'x-stream-continuation': mode } };
      const before = await subject.gateway?.usage();
      const job = { connections: STREAMS, requests: STREAMS, body, events: count + CLOSING_EVENTS };
      const { events } = await rig.run(subject, job);
      const after = await subject.gateway?.usage();
      if (round > 0) micros[mode].push(((after?.cpuMicros ?? 0) - (before?.cpuMicros ?? 0)) / events);
    }
  }
  return [
    {
      name: 'CPU per SSE frame with continuation (replay), against without',
      unit: '×',
      values: micros.fast.map((value, round) => value / (micros.off[round] ?? Number.NaN)),
      reach: { atMost: 1.05 },
    },
    { name: '– with', unit: 'µs', values: micros.fast },
    { name: '– without', unit: 'µs', values: micros.off },
  ];
}

const JOURNALS: readonly { name: string; make: () => StreamJournal; event: (position: number) => Buffer }[] = [
  { name: 'ids', make: () => new IdsJournal(), event: idEvent },
  { name: 'text', make: () => new TextJournal('chat'), event: textEvent },
  { name: 'replay', make: () => new ReplayJournal('chat'), event: textEvent },
];
const LONG = 32_768;
const USUAL = 2048;
/** Events that are timed together. */
const STRETCH = 256;

/** Each kind of journal for itself, on events as llama-server writes them; nothing else runs. */
function journals({ rounds }: BenchContext): Figure[] {
  const figures: Figure[] = [];
  for (const { name, make, event } of JOURNALS) {
    const events = Array.from({ length: LONG }, (_, index) => event(index + 1));
    const values = Array.from({ length: rounds + 1 }, () => nanosecondsPerEvent(make(), events) / 1000);
    figures.push({ name: `journal of ${name}: time per event`, unit: 'µs', values: values.slice(1) });
    for (const tokens of [USUAL, LONG]) {
      const kilobytes = kilobytesPerStream(make, events.slice(0, tokens));
      figures.push({ name: `– memory of a stream of ${tokens} tokens`, unit: 'KB', values: [kilobytes] });
    }
  }
  return figures;
}

/** The median of many short stretches: whoever else is at work on the machine takes its time out of few of them. */
function nanosecondsPerEvent(journal: StreamJournal, events: readonly Buffer[]): number {
  const stretches: number[] = [];
  for (let from = 0; from < events.length; from += STRETCH) {
    const stretch = events.slice(from, from + STRETCH);
    const startedAt = process.hrtime.bigint();
    for (const event of stretch) journal.note(event);
    stretches.push(Number(process.hrtime.bigint() - startedAt) / stretch.length);
  }
  return median(stretches);
}

function kilobytesPerStream(make: () => StreamJournal, events: readonly Buffer[]): number {
  const count = 64;
  const before = bytesInUse();
  const all = Array.from({ length: count }, () => {
    const journal = make();
    for (const event of events) journal.note(event);
    return journal;
  });
  const bytes = (bytesInUse() - before) / all.length;
  return bytes / 1024;
}

function bytesInUse(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // What the first pass finds, the second gives back.
  for (let pass = 0; pass < 3; pass += 1) collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function idEvent(position: number): Buffer {
  const data = { index: 0, content: ' word', tokens: [position], stop: false, id_slot: -1 };
  return Buffer.from(`data: ${JSON.stringify({ ...data, tokens_predicted: position, tokens_evaluated: 9 })}\n\n`);
}

function textEvent(position: number): Buffer {
  const delta = position === 1 ? { role: 'assistant', content: null } : { content: ' word' };
  const choices = [{ finish_reason: null, index: 0, delta }];
  const names = {
    created: 1_758_000_000,
    id: 'chatcmpl-ZkQ3fT2mYw8dHq0aXv5rNs7uLp1cJb6e',
    model: 'model.gguf',
    system_fingerprint: 'b6500-de3ff81',
    object: 'chat.completion.chunk',
  };
  return Buffer.from(`data: ${JSON.stringify({ choices, ...names })}\n\n`);
}
