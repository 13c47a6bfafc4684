/**
 * Preloaded into `llamero serve` (`node --import probe.ts`): answers its parent's questions about memory and about what lives, from
 * inside the very process that a user would run.
 */
import { collectGarbage } from '../../src/testing/leak/collect-garbage.ts';
import { countLive, countResources } from '../../src/testing/leak/live-counts.ts';
import { readMemory } from '../../src/testing/leak/memory-usage.ts';

/** What a question is; the answer is a {@link ProbeAnswer}. */
export type ProbeQuestion = 'sample' | 'count';

/** Memory behind a full collection, and what holds the event loop and descriptors; with `count`, objects by class as well. */
export interface ProbeAnswer {
  readonly heap: number;
  readonly external: number;
  readonly anonymous: number | null;
  readonly counts: Readonly<Record<string, number>>;
}

/** What belongs to a single request: none of it may be there when none is. */
export const REQUEST_CLASSES = [
  'Approach',
  'EngineCall',
  'EventFramer',
  'ExchangeReport',
  'Relay',
  'RelayedStream',
  'RunningExchange',
  'StreamContinuation',
  'TokenAccount',
];

async function answer(question: ProbeQuestion): Promise<ProbeAnswer> {
  await collectGarbage();
  const memory = readMemory();
  const counts = question === 'count' ? (await countLive(REQUEST_CLASSES, {})).exact : countResources();
  return { ...memory, counts };
}

if (process.send !== undefined) {
  process.on('message', (question: ProbeQuestion) => {
    void answer(question).then((found) => process.send?.(found));
  });
  // To be asked is no reason to stay.
  process.channel?.unref();
}
