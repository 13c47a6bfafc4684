import { setImmediate as turn } from 'node:timers/promises';
import type { LlamaCppProvider } from '../../llama-cpp-provider.ts';
import { connectTo, listeners } from './connected-provider.ts';
import { measurement, type Workload } from './workload.ts';

/** Streams that are read to their end, slowly enough that the engine is made to wait. */
export const readSlowly: Workload = ({ urls, tally }) =>
  measurement({
    open: () => connectTo(urls.plain),
    run: async (provider: LlamaCppProvider, unit) => {
      let parts = 0;
      for await (const part of provider.stream(`prompt ${unit}`, { maxTokens: 200 })) {
        parts += part.text === '' ? 0 : 1;
        if (parts % 4 === 0) await turn();
      }
      tally.add(`${parts} parts`);
    },
    counts: (provider) => listeners({ provider }),
    unitsPerBatch: 12,
  });

/** Streams that are never read, that are left before anything came, with and without a pending read, and that are left in the middle. */
export const abandoned: Workload = ({ urls, tally }) =>
  measurement({
    open: () => connectTo(urls.slow),
    run: async (provider: LlamaCppProvider, unit) => {
      provider.stream(`never read ${unit}`);
      await provider.stream(`left unread ${unit}`).return?.();
      const early = provider.stream(`left early ${unit}`);
      // Whoever leaves while a read is pending hears of it there.
      const pending = tally.of(early.next());
      await early.return?.();
      await pending;
      for await (const part of provider.chatStream([{ role: 'user', content: `left midway ${unit}` }])) {
        if (part.text === '') continue;
        tally.add('left midway');
        break;
      }
    },
    counts: (provider) => listeners({ provider }),
  });
