import { setTimeout as sleep } from 'node:timers/promises';
import { collectGarbage } from './leak/collect-garbage.ts';
import { describeLeak } from './leak/describe-leak.ts';
import {
  type CountGrowth,
  type GrowthLimits,
  grownCounts,
  grownWithUnits,
  judgeMemory,
  type LeakVerdict,
  type MemoryGrowth,
  type MemorySample,
  worstVerdict,
} from './leak/judge-leak.ts';
import { countLive, countResources, type Counts, type LiveCounts } from './leak/live-counts.ts';
import { readMemory } from './leak/memory-usage.ts';
import { runUnits } from './leak/run-units.ts';

/** What {@link measureLeak} measures. */
export interface MeasureLeakOptions<Subject> {
  /** Title of the report. Default `measureLeak`. */
  readonly name?: string;
  /** Makes what is measured, such as a provider. Called twice: for the slope of memory, and again for the counts. */
  readonly open: () => Subject | Promise<Subject>;
  /** One unit of work, for example one request with its whole answer. What it throws ends the measurement. */
  readonly run: (subject: Subject, unit: number) => Promise<unknown>;
  /** Takes away everything that `open` made. Default: `Symbol.asyncDispose` or `Symbol.dispose`, if the subject has it. */
  readonly close?: (subject: Subject) => unknown;
  /**
   * Classes of which not a single object more may live than before, beside Node's own (sockets, servers, messages of HTTP, child
   * processes, timers, AbortSignals). Of every other class, and of functions of one name, as many as half of the units are too many, from 50 on.
   */
  readonly classes?: readonly { readonly name: string }[];
  /** What else must not grow while the subject is open: listeners, sizes of maps. */
  readonly counts?: (subject: Subject) => Counts;
  /** Units at once. Default 4. */
  readonly concurrency?: number;
  /** Units between two samples of memory. Default 50. */
  readonly unitsPerBatch?: number;
  /** Batches before anything is measured: V8 learns and pools fill. Default 3. */
  readonly warmupBatches?: number;
  /** Samples of memory at least; fewer than 8 tell nothing. Default 8. */
  readonly batches?: number;
  /** Batches between the two counts of an open subject. Default 3. */
  readonly countedBatches?: number;
  /** Samples at most, where the first ones leave it open whether memory grows. Default 24. */
  readonly mostBatches?: number;
  /** Growth per unit that counts as a leak, in bytes. Default: heap 1024, external 1024, anonymous 5120. */
  readonly limits?: Partial<GrowthLimits>;
  /** How long counts may take to come back to what they were, in ms. Default 10,000. */
  readonly settleMs?: number;
  /** Ends the measurement between two batches. */
  readonly signal?: AbortSignal;
}

/** What {@link measureLeak} found: plain data. */
export interface LeakReport {
  readonly name: string;
  /** `clean` only if nothing lives longer than it should and the growth of each kind of memory is surely below its limit. */
  readonly verdict: LeakVerdict;
  /** Units of work between the first and the last sample of memory. */
  readonly units: number;
  readonly counts: {
    /** Before the subject was opened. */
    readonly before: Counts;
    /** With the subject open and warm. */
    readonly warm: Counts;
    /** After further units, the subject still open. */
    readonly worked: Counts;
    /** After it was closed. */
    readonly after: Counts;
  };
  /** What grew between `warm` and `worked`. */
  readonly whileOpen: readonly CountGrowth[];
  /** What grew between `before` and `after`. */
  readonly afterClose: readonly CountGrowth[];
  /** Growth in bytes per unit; `anonymous` on Linux only. */
  readonly memory: readonly MemoryGrowth[];
  readonly samples: readonly MemorySample[];
  /** All of it as a few lines of text. */
  readonly summary: string;
}

const DEFAULT_LIMITS: GrowthLimits = { heap: 1024, external: 1024, anonymous: 5120 };
const POLL_MS = 100;

/**
 * Finds out whether repeated work leaves something behind, in two independent ways. *Counts*: after the work, and again after the
 * subject was closed, no more objects, listeners, timers, sockets and file descriptors live than before. *Slope*: memory is
 * sampled after each batch, behind full collections; its growth per unit is estimated with a confidence interval
 * (Theil–Sen, 99 %), and judged only when the whole interval lies on one side of the limit.
 *
 * Everything in the process counts, a test runner and a double's log included: best run in a process where nothing else
 * happens. `--max-semi-space-size=1` keeps V8 from taking memory in steps of megabytes.
 *
 * ```ts
 * const report = await measureLeak({
 *   open: () => LlamaCppProvider.connect(url),
 *   run: (provider) => provider.generate('Hello'),
 *   classes: [LlamaCppProvider],
 * });
 * assert.equal(report.verdict, 'clean', report.summary);
 * ```
 *
 * @throws whatever `open`, `run` or `close` throws, and the reason of `signal`; the subject is closed before.
 */
export async function measureLeak<Subject>(options: MeasureLeakOptions<Subject>): Promise<LeakReport> {
  const { name = 'measureLeak', batches = 8 } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  // First, because a heap snapshot leaves the process with free memory in which growth would not show.
  const samples = await withSubject(options, async (work) => {
    for (let batch = 0; batch < (options.warmupBatches ?? 3); batch += 1) await work.batch();
    return takeSamples(work, limits, batches, options.mostBatches ?? 24);
  });
  const memory = judgeMemory(newestHalf(samples, batches), limits);
  const { counts, whileOpen, afterClose } = await compareCounts(options);
  const lives = whileOpen.length + afterClose.length > 0;
  const verdict = lives ? 'leak' : worstVerdict(memory.map((growth) => growth.verdict));
  const findings = { name, verdict, units: samples.at(-1)?.units ?? 0, whileOpen, afterClose, memory };
  return { ...findings, counts, samples, summary: describeLeak(findings) };
}

/** What lives before and after a subject, and before and after units of its work. */
async function compareCounts<Subject>(
  options: MeasureLeakOptions<Subject>,
): Promise<Pick<LeakReport, 'counts' | 'whileOpen' | 'afterClose'>> {
  const { settleMs = 10_000, countedBatches = 3 } = options;
  const classes = (options.classes ?? []).map((counted) => counted.name);
  const before = await countLive(classes, {});
  const { warm, worked, whileOpen } = await withSubject(options, async (work) => {
    await work.batch();
    const atFirst = await countLive(classes, work.counts());
    let units = 0;
    for (let batch = 0; batch < countedBatches; batch += 1) units += await work.batch();
    const growth = (counts: LiveCounts) => grownWithUnits(atFirst, counts, units);
    const atLast = await settled(atFirst, classes, work.counts, growth, settleMs);
    return { warm: atFirst.exact, worked: atLast.exact, whileOpen: growth(atLast) };
  });
  const left = ({ exact }: LiveCounts) => grownCounts(before.exact, exact);
  const after = await settled(before, classes, () => ({}), left, settleMs);
  return { counts: { before: before.exact, warm, worked, after: after.exact }, whileOpen, afterClose: left(after) };
}

/** An open subject at work. */
interface Work {
  /** Runs a batch. @returns its units. */
  readonly batch: () => Promise<number>;
  readonly counts: () => Counts;
}

/** Opens a subject, uses it, and closes it in any case. */
async function withSubject<Subject, Result>(
  options: MeasureLeakOptions<Subject>,
  use: (work: Work) => Promise<Result>,
): Promise<Result> {
  const { unitsPerBatch: count = 50, concurrency = 4, signal } = options;
  const subject = await options.open();
  let from = 0;
  try {
    return await use({
      batch: async () => {
        signal?.throwIfAborted();
        await runUnits((unit) => options.run(subject, unit), { from, count, concurrency });
        from += count;
        return count;
      },
      counts: () => options.counts?.(subject) ?? {},
    });
  } finally {
    await (options.close ?? dispose)(subject);
  }
}

/** Samples until it is clear that nothing grows, or there are as many as there may be. */
async function takeSamples(work: Work, limits: GrowthLimits, least: number, most: number): Promise<MemorySample[]> {
  const samples: MemorySample[] = [];
  let units = 0;
  let isClean = false;
  while (samples.length < most && !isClean) {
    if (samples.length > 0) units += await work.batch();
    await collectGarbage();
    samples.push({ units, ...readMemory() });
    const growth = judgeMemory(newestHalf(samples, least), limits);
    isClean = samples.length >= least && worstVerdict(growth.map(({ verdict }) => verdict)) === 'clean';
  }
  return samples;
}

/** What is early may still be warming up: where that spoils the first samples, the later ones decide. */
function newestHalf(samples: readonly MemorySample[], least: number): readonly MemorySample[] {
  return samples.slice(-Math.max(least, Math.ceil(samples.length / 2)));
}

/** Counts again until nothing has grown, for so long at most: connections take seconds to close, and timers to run out. */
async function settled(
  baseline: LiveCounts,
  classes: readonly string[],
  own: () => Counts,
  growth: (counts: LiveCounts) => readonly CountGrowth[],
  settleMs: number,
): Promise<LiveCounts> {
  const deadline = performance.now() + settleMs;
  for (;;) {
    // The cheap counts first: while they are too high there is no need for a look at the whole heap.
    const cheap = { ...countResources(), ...own() };
    const isOver = performance.now() > deadline;
    if (isOver || grownCounts(baseline.exact, cheap).length === 0) {
      const counts = await countLive(classes, own());
      if (isOver || growth(counts).length === 0) return counts;
    }
    await sleep(POLL_MS);
  }
}

async function dispose(subject: unknown): Promise<void> {
  const disposable = subject as Partial<AsyncDisposable & Disposable> | null | undefined;
  if (disposable?.[Symbol.asyncDispose] !== undefined) await disposable[Symbol.asyncDispose]?.();
  else disposable?.[Symbol.dispose]?.();
}
