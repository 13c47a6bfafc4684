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
import { type Counts, countLive, type LiveCounts } from './leak/live-counts.ts';
import { readMemory } from './leak/memory-usage.ts';
import { runUnits } from './leak/run-units.ts';

/** What {@link measureLeak} measures. */
export interface MeasureLeakOptions<Subject> {
  /** Title of the report. Default `measureLeak`. */
  readonly name?: string;
  /** Makes what is measured, such as a provider. Called twice: once for practice, so that what is loaded once is there, and once in earnest. */
  readonly open: () => Subject | Promise<Subject>;
  /** One unit of work, for example one request with its whole answer. What it throws ends the measurement. */
  readonly run: (subject: Subject, unit: number) => Promise<unknown>;
  /** Takes away everything that `open` made. Default: `Symbol.asyncDispose` or `Symbol.dispose`, if the subject has it. */
  readonly close?: (subject: Subject) => unknown;
  /**
   * Classes of which not a single object more may live than before, beside Node's own (sockets, servers, messages of HTTP, child
   * processes, timers, AbortSignals). Of every other class, and of functions, none may live longer for each fifth unit.
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
  /** Units of work that were measured, warming up excluded. */
  readonly units: number;
  readonly counts: {
    /** Before the subject was opened. */
    readonly before: Counts;
    /** With the subject open and warm. */
    readonly warm: Counts;
    /** After all units, the subject still open. */
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
const POLL_MS = 50;

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
  const { name = 'measureLeak', settleMs = 10_000 } = options;
  const classes = (options.classes ?? []).map((counted) => counted.name);
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  await withSubject(options, (work) => work.batch());
  const before = await countLive(classes, {});
  const opened = await withSubject(options, (work) => measureWork(options, work, { classes, limits, settleMs }));
  const { warm, worked, samples, whileOpen } = opened;
  const isLikeBefore = ({ exact }: LiveCounts): boolean => grownCounts(before.exact, exact).length === 0;
  const after = await settled(() => countLive(classes, {}), isLikeBefore, settleMs);
  const afterClose = grownCounts(before.exact, after.exact);
  const memory = judgeMemory(newestHalf(samples, leastBatches(options)), limits);
  const lives = whileOpen.length + afterClose.length > 0;
  const verdict = lives ? 'leak' : worstVerdict(memory.map((growth) => growth.verdict));
  const findings = { name, verdict, units: samples.at(-1)?.units ?? 0, whileOpen, afterClose, memory };
  const counts = { before: before.exact, warm: warm.exact, worked: worked.exact, after: after.exact };
  return { ...findings, counts, samples, summary: describeLeak(findings) };
}

/** What an open subject leaves behind with its work. */
async function measureWork<Subject>(
  options: MeasureLeakOptions<Subject>,
  work: Work,
  { classes, limits, settleMs }: { classes: readonly string[]; limits: GrowthLimits; settleMs: number },
): Promise<{ warm: LiveCounts; worked: LiveCounts; samples: MemorySample[]; whileOpen: CountGrowth[] }> {
  for (let batch = 0; batch < (options.warmupBatches ?? 3); batch += 1) await work.batch();
  const count = () => countLive(classes, work.counts());
  const warm = await count();
  const samples = await takeSamples(work, limits, leastBatches(options), options.mostBatches ?? 24);
  const growth = (counts: LiveCounts) => grownWithUnits(warm, counts, samples.at(-1)?.units ?? 0);
  const worked = await settled(count, (counts) => growth(counts).length === 0, settleMs);
  return { warm, worked, samples, whileOpen: growth(worked) };
}

function leastBatches({ batches = 8 }: Pick<MeasureLeakOptions<never>, 'batches'>): number {
  return batches;
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

/** Counts again until all is as it should be, for so long at most: sockets take a moment to close. */
async function settled(
  count: () => Promise<LiveCounts>,
  isAsBefore: (counts: LiveCounts) => boolean,
  settleMs: number,
): Promise<LiveCounts> {
  const deadline = performance.now() + settleMs;
  for (;;) {
    const counts = await count();
    if (isAsBefore(counts) || performance.now() > deadline) return counts;
    await sleep(POLL_MS);
  }
}

async function dispose(subject: unknown): Promise<void> {
  const disposable = subject as Partial<AsyncDisposable & Disposable> | null | undefined;
  if (disposable?.[Symbol.asyncDispose] !== undefined) await disposable[Symbol.asyncDispose]?.();
  else disposable?.[Symbol.dispose]?.();
}
