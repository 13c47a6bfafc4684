import { LlamaCppProvider } from '../../llama-cpp-provider.ts';
import { connectTo } from './connected-provider.ts';
import type { Workload } from './workload.ts';

/** A provider that is made, gets a listener and a stream, and is cleaned up amid it. */
export const recreated: Workload = ({ urls, tally }) => ({
  run: async () => {
    const provider = connectTo(urls.slow);
    provider.on('settled', () => tally.add('settled'));
    const stream = provider.stream('left open');
    await stream.next();
    const rest = tally.of(stream.next().then(() => stream.next()));
    await provider.cleanup();
    await rest;
    tally.add('cleaned up');
  },
});

/** The same with a llama-server of its own, the real one: answers, refusals, streams that are left, and late requests. */
export const respawned: Workload = ({ model, tally }) => ({
  run: async (unit) => {
    const provider = new LlamaCppProvider({
      model,
      engine: { ctxSize: 1024, parallel: 4, args: ['--threads', '1'] },
    });
    for (let turn = 0; turn < 2; turn += 1) {
      await tally.of(provider.generate(`prompt ${unit}`, { maxTokens: 4 }));
      await tally.of(provider.generate('Hello', { grammar: 'root ::= (((' }));
      await tally.of(provider.tokenize(`text ${unit}`));
      for await (const part of provider.stream('Hello', { maxTokens: 1000 })) if (part.text !== '') break;
      await tally.of(provider.generate('Hello', { maxTokens: 2000, timeout: 15 }));
    }
    await provider.cleanup();
    tally.add('ended');
  },
});
