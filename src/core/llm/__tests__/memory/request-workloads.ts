import { getEventListeners } from 'node:events';
import type { MeasureLeakOptions } from '../../../../testing/index.ts';
import type { ConfigInput } from '../../../config.ts';
import type { LlamaCppProvider } from '../../llama-cpp-provider.ts';
import { connectTo, gone, listeners } from './connected-provider.ts';
import { SLOTS } from './engines.ts';
import { type Measurement, measurement, type Workload } from './workload.ts';

/** Tests want the failure of the engine, not llamero's protection from too many of them. */
const PATIENT: ConfigInput = {
  circuitBreaker: { failureThreshold: 1_000_000 },
  retry: { maxRetries: 1, retryDelay: 1 },
};

/** Requests of every kind of the library, answered. */
export const successful: Workload = ({ urls, tally }) =>
  overProviders({
    open: () => ({ plain: connectTo(urls.plain) }),
    run: async ({ plain }, unit) => {
      await tally.of(plain.generate(`prompt ${unit}`, { maxTokens: 4 }));
      await tally.of(plain.chat([{ role: 'user', content: `message ${unit}` }], { maxTokens: 4 }));
      await tally.of(plain.embed(['a text', `text ${unit}`]));
      await tally.of(plain.tokenize(`text ${unit}`));
    },
  });

/** Requests that fail: refused by the engine, cut, garbled, or never there; and wrong ones, which are not sent at all. */
export const failed: Workload = ({ urls, tally }) =>
  overProviders({
    open: async () => ({
      unwilling: connectTo(urls.unwilling, PATIENT),
      breaking: connectTo(urls.breaking, PATIENT),
      garbling: connectTo(urls.garbling, PATIENT),
      nowhere: connectTo(await gone(), { ...PATIENT, timeouts: { queue: 20 } }),
    }),
    run: async ({ unwilling, breaking, garbling, nowhere }, unit) => {
      const prompt = `prompt ${unit}`;
      await tally.of(unwilling.generate(prompt));
      await tally.of(breaking.generate(prompt, { continuation: 'off' }));
      await tally.of(garbling.generate(prompt, { continuation: 'off' }));
      await tally.of(nowhere.generate(prompt));
      await tally.of(unwilling.generate(prompt, { maxTokens: -1 }));
    },
  });

/** Requests that are cancelled before, at and after the first token, by signals of their own and by one that outlives them all; and that run out of time. */
export const cancelled: Workload = ({ urls, tally }) => {
  const outliving = new AbortController();
  return overProviders({
    open: () => ({ silent: connectTo(urls.silent), slow: connectTo(urls.slow), plain: connectTo(urls.plain) }),
    run: async ({ silent, slow, plain }, unit) => {
      await tally.of(plain.generate(`prompt ${unit}`, { signal: AbortSignal.abort() }));
      const early = new AbortController();
      const waiting = silent.generate(`prompt ${unit}`, { signal: early.signal });
      setImmediate(() => early.abort());
      await tally.of(waiting);
      const late = new AbortController();
      const stream = slow.stream(`prompt ${unit}`, { signal: late.signal });
      await stream.next();
      late.abort();
      await tally.of(drain(stream));
      await tally.of(slow.generate(`prompt ${unit}`, { timeout: 10 }));
      await tally.of(plain.generate(`prompt ${unit}`, { signal: outliving.signal, maxTokens: 1 }));
    },
    counts: () => ({ 'listeners of a signal that outlives': getEventListeners(outliving.signal, 'abort').length }),
  });
};

/** Requests that are sent again, streams that go on with another engine, and clients that have used up their limit. */
export const protectedOnes: Workload = ({ urls, tally }) =>
  overProviders({
    open: () => {
      const limited = connectTo(urls.plain, { rateLimit: { requestsPerMinute: 1, maxClients: 10 } });
      const providers = {
        busy: connectTo(urls.busy, PATIENT),
        breaking: connectTo(urls.breaking, PATIENT),
        limited,
      };
      providers.busy.on('retry', () => tally.add('sent again'));
      providers.breaking.on('stream-continued', () => tally.add('continued'));
      return providers;
    },
    run: async ({ busy, breaking, limited }, unit) => {
      await tally.of(busy.generate(`prompt ${unit}`));
      await tally.of(breaking.generate(`prompt ${unit}`, { maxTokens: 8 }));
      // More than are remembered, so that each is forgotten before it comes again.
      const client = { userId: `user ${unit % 20}` };
      await tally.of(limited.generate('Hello', { maxTokens: 1, client }));
      await tally.of(limited.generate('Hello', { maxTokens: 1, client }));
    },
  });

/** Everything at once, more of it than there are slots. */
export const concurrent: Workload = ({ urls, tally }) =>
  overProviders({
    open: () => ({
      plain: connectTo(urls.plain, { maxConcurrentRequests: 8, maxQueue: 16 }),
      slow: connectTo(urls.slow, { maxConcurrentRequests: SLOTS }),
    }),
    run: async ({ plain, slow }, unit) => {
      const stream = slow.stream('left alone');
      const left = stream.next().then(() => stream.return?.());
      const answers = Array.from({ length: 30 }, (_, index) =>
        tally.of(plain.generate(`${unit}.${index}`, { maxTokens: 2 })),
      );
      await Promise.all([...answers, tally.of(slow.generate('too long', { timeout: 10 })), left]);
    },
    unitsPerBatch: 8,
    limits: { heap: 16_384, external: 16_384, anonymous: 65_536 },
  });

/** One plain request, many times. */
export const continuous: Workload = ({ urls, tally }) =>
  overProviders({
    open: () => ({ plain: connectTo(urls.plain) }),
    run: ({ plain }, unit) => tally.of(plain.generate(`prompt ${unit}`, { maxTokens: 2 })),
    concurrency: 8,
    unitsPerBatch: 250,
    warmupBatches: 4,
    countedBatches: 1,
    // Zero within its error is what is aimed at; a request that leaves 256 bytes behind is found.
    limits: { heap: 256, external: 256 },
  });

/** A 16 MB answer, whole and streamed. */
export const large: Workload = ({ urls, tally }) =>
  overProviders({
    open: () => ({ large: connectTo(urls.large) }),
    run: async ({ large: provider }) => {
      const { text } = await provider.generate('Hello', { maxTokens: 1 });
      tally.add(`${text.length} bytes`);
    },
    concurrency: 2,
    unitsPerBatch: 2,
    warmupBatches: 2,
    // A single answer that is kept is 16 MB.
    limits: { heap: 65_536, external: 65_536, anonymous: 4 * 1024 * 1024 },
  });

interface OverProviders<Names> extends Omit<MeasureLeakOptions<Names>, 'close' | 'counts'> {
  counts?: () => Record<string, number>;
}

function overProviders<Names extends Record<string, LlamaCppProvider>>(options: OverProviders<Names>): Measurement {
  return measurement<Names>({
    ...options,
    close: (providers) => Promise.all(Object.values(providers).map((provider) => provider.cleanup())),
    counts: (providers) => ({ ...options.counts?.(), ...listeners(providers) }),
  });
}

async function drain(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const part of stream) void part;
}
