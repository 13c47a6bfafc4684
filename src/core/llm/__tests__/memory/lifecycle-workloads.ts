import { LlamaCppProvider } from '../../llama-cpp-provider.ts';
import { connectTo, listeners } from './connected-provider.ts';
import { measurement, type Workload } from './workload.ts';

/** A provider per unit, with listeners, a request, and a clean-up amid another request. */
export const recreated: Workload = ({ urls, tally }) =>
  measurement({
    open: () => null,
    run: async () => {
      const provider = connectTo(urls.slow);
      provider.on('settled', () => tally.add('settled'));
      const stream = provider.stream('left open');
      await stream.next();
      const pending = stream.next();
      const rest = tally.of(pending.then(() => stream.next()));
      await provider.cleanup();
      await rest;
      tally.add('cleaned up');
    },
    unitsPerBatch: 12,
    warmupBatches: 2,
    // What 100 of them leave is less than the tenth part of one.
    limits: { heap: 8192, external: 8192, anonymous: 65_536 },
  });

/** The same with the real llama-server, started and ended each time. */
export const respawned: Workload = ({ model, tally }) =>
  measurement({
    open: () => null,
    run: async (_, unit) => {
      const provider = realProvider(model);
      await tally.of(provider.generate(`prompt ${unit}`, { maxTokens: 4 }));
      await provider.cleanup();
    },
    concurrency: 1,
    unitsPerBatch: 1,
    warmupBatches: 2,
    countedBatches: 2,
    limits: { heap: 65_536, external: 65_536, anonymous: 1024 * 1024 },
  });

/** The real llama-server at work: answers, refusals, cancellations and streams that are left. */
export const realEngine: Workload = ({ model, tally }) =>
  measurement({
    open: async () => {
      const provider = realProvider(model);
      await provider.start();
      return provider;
    },
    run: async (provider: LlamaCppProvider, unit) => {
      await tally.of(provider.generate(`prompt ${unit}`, { maxTokens: 4 }));
      await tally.of(provider.generate('Hello', { grammar: 'root ::= (((' }));
      await tally.of(provider.tokenize(`text ${unit}`));
      for await (const part of provider.stream('Hello', { maxTokens: 1000 })) if (part.text !== '') break;
      await tally.of(provider.generate('Hello', { maxTokens: 2000, timeout: 15 }));
    },
    counts: (provider: LlamaCppProvider) => listeners({ provider }),
    concurrency: 2,
    unitsPerBatch: 10,
    limits: { heap: 8192, external: 8192, anonymous: 65_536 },
  });

/** Listeners that come and go with each request, for every event that there is: llamero's only hooks. */
export const listening: Workload = ({ urls, tally }) =>
  measurement({
    open: () => connectTo(urls.plain),
    run: async (provider: LlamaCppProvider, unit) => {
      const seen: string[] = [];
      const listener = (): void => void seen.push(`${unit}`);
      const names = ['request', 'response', 'error', 'settled', 'retry', 'rate-limit', 'engine-state'] as const;
      for (const name of names) provider.on(name, listener);
      await provider.generate(`prompt ${unit}`, { maxTokens: 1 });
      for (const name of names) provider.off(name, listener);
      tally.add(seen.length > 0 ? 'heard' : 'heard nothing');
    },
    counts: (provider: LlamaCppProvider) => listeners({ provider }),
  });

function realProvider(model: string): LlamaCppProvider {
  return new LlamaCppProvider({ model, engine: { ctxSize: 1024, parallel: 4, args: ['--threads', '1'] } });
}
