import { getEventListeners } from 'node:events';
import type { ConfigInput } from '../../../config.ts';
import { connectTo, gone, over } from './connected-provider.ts';
import type { Workload } from './workload.ts';

/** It is about failures of the engine, not about llamero's protection from too many of them. */
const PATIENT: ConfigInput = {
  circuitBreaker: { failureThreshold: 1_000_000 },
  retry: { maxRetries: 1, retryDelay: 1 },
};

/** Requests of every kind of the library, answered. */
export const successful: Workload = ({ urls, tally }) =>
  over({ successful: connectTo(urls.plain) }, async ({ successful: provider }, unit) => {
    await tally.of(provider.generate(`prompt ${unit}`, { maxTokens: 4 }));
    await tally.of(provider.chat([{ role: 'user', content: `message ${unit}` }], { maxTokens: 4 }));
    await tally.of(provider.embed(['a text', `text ${unit}`]));
    await tally.of(provider.tokenize(`text ${unit}`));
  });

/** Listeners that come and go with each request, for events of every kind: the only hooks that llamero has. */
export const listening: Workload = ({ urls, tally }) =>
  over({ listening: connectTo(urls.plain) }, async ({ listening: provider }, unit) => {
    const seen: string[] = [];
    const listener = (): void => void seen.push(`${unit}`);
    const names = ['request', 'response', 'error', 'settled', 'retry', 'rate-limit', 'engine-state'] as const;
    for (const name of names) provider.on(name, listener);
    await provider.generate(`prompt ${unit}`, { maxTokens: 1 });
    for (const name of names) provider.off(name, listener);
    tally.add(seen.length > 0 ? 'heard' : 'heard nothing');
  });

/** Requests that fail: refused by the engine, cut, garbled, or never there; and wrong ones, which are not sent at all. */
export const failed: Workload = async ({ urls, tally }) => {
  const providers = {
    unwilling: connectTo(urls.unwilling, PATIENT),
    broken: connectTo(urls.breaking, PATIENT),
    garbling: connectTo(urls.garbling, PATIENT),
    nowhere: connectTo(await gone(), { ...PATIENT, timeouts: { queue: 20 } }),
  };
  return over(providers, async ({ unwilling, broken, garbling, nowhere }, unit) => {
    const prompt = `prompt ${unit}`;
    await tally.of(unwilling.generate(prompt));
    await tally.of(broken.generate(prompt, { continuation: 'off' }));
    await tally.of(garbling.generate(prompt, { continuation: 'off' }));
    await tally.of(nowhere.generate(prompt));
    await tally.of(unwilling.generate(prompt, { maxTokens: -1 }));
  });
};

/** Requests that are sent again, streams that go on with another engine, and clients that have used up their limit. */
export const saved: Workload = ({ urls, tally }) => {
  const providers = {
    busy: connectTo(urls.busy, PATIENT),
    breaking: connectTo(urls.breaking, PATIENT),
    limited: connectTo(urls.plain, { rateLimit: { requestsPerMinute: 1, maxClients: 10 } }),
  };
  providers.busy.on('retry', () => tally.add('sent again'));
  providers.breaking.on('stream-continued', () => tally.add('continued'));
  return over(providers, async ({ busy, breaking, limited }, unit) => {
    await tally.of(busy.generate(`prompt ${unit}`));
    await tally.of(breaking.generate(`prompt ${unit}`, { maxTokens: 8 }));
    // More than are remembered, so that each is forgotten before it comes again.
    const client = { userId: `user ${unit % 20}` };
    await tally.of(limited.generate('Hello', { maxTokens: 1, client }));
    await tally.of(limited.generate('Hello', { maxTokens: 1, client }));
  });
};

/**
 * Requests that are cancelled before, at and after the first token, by signals of their own and by one that outlives them
 * all; and those that run out of time.
 */
export const cancelled: Workload = ({ urls, tally }) => {
  const outliving = new AbortController();
  const providers = { silent: connectTo(urls.silent), slow: connectTo(urls.slow), plain: connectTo(urls.plain) };
  const work = over(providers, async ({ silent, slow, plain }, unit) => {
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
  });
  const abortListeners = () => getEventListeners(outliving.signal, 'abort').length;
  return { ...work, counts: () => ({ ...work.counts(), 'listeners of a signal that outlives': abortListeners() }) };
};

/** Everything at once, more of it than there are slots and places in the queue. */
export const concurrent: Workload = ({ urls, tally }) => {
  const providers = {
    crowded: connectTo(urls.plain, { maxConcurrentRequests: 4, maxQueue: 8 }),
    left: connectTo(urls.slow),
  };
  return over(providers, async ({ crowded, left }, unit) => {
    const stream = left.stream('left alone');
    const leaving = stream.next().then(() => stream.return?.());
    const answers = Array.from({ length: 12 }, (_, index) =>
      tally.of(crowded.generate(`${unit}.${index}`, { maxTokens: 2 })),
    );
    await Promise.all([...answers, tally.of(left.generate('too long', { timeout: 10 })), leaving]);
  });
};

/** One plain request. */
export const plain: Workload = ({ urls, tally }) =>
  over({ provider: connectTo(urls.plain) }, ({ provider }, unit) =>
    tally.of(provider.generate(`prompt ${unit}`, { maxTokens: 2 })),
  );

/** A 16 MB answer. */
export const large: Workload = ({ urls, tally }) =>
  over({ provider: connectTo(urls.large) }, async ({ provider }) => {
    const { text } = await provider.generate('Hello', { maxTokens: 1 });
    tally.add(`${text.length} bytes`);
  });

async function drain(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const part of stream) void part;
}
