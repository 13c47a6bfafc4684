import { setImmediate as turn } from 'node:timers/promises';
import { connectTo, over } from './connected-provider.ts';
import type { Workload } from './workload.ts';

/** Tokens of a stream that is read slowly: more than are held for a slow reader. */
const TOKENS = 200;

/** Streams that are read to their end, slowly enough that the engine is made to wait. */
export const readSlowly: Workload = ({ urls, tally }) =>
  over({ slowly: connectTo(urls.plain) }, async ({ slowly }, unit) => {
    let parts = 0;
    for await (const part of slowly.stream(`prompt ${unit}`, { maxTokens: TOKENS })) {
      parts += part.text === '' ? 0 : 1;
      if (parts % 4 === 0) await turn();
    }
    tally.add(parts === TOKENS ? 'read slowly' : 'read in part');
  });

/** Streams that are never read, that are left before anything came, with and without a pending read, and that are left in the middle. */
export const abandoned: Workload = ({ urls, tally }) =>
  over({ abandoned: connectTo(urls.slow) }, async ({ abandoned: provider }, unit) => {
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
  });
