import { setTimeout as sleep } from 'node:timers/promises';
import { LlamaCppProvider } from '../../src/core/llm/llama-cpp-provider.ts';
import { createGateway } from '../../src/gateway/gateway.ts';
import { DeferredWatch } from './deferred-watch.ts';
import { RestartClient } from './restart-client.ts';

export interface RestartRun {
  /** GGUF file. */
  readonly model: string;
  /** Restarts, one behind the other. */
  readonly count: number;
  /** Every second one streams. */
  readonly clients: number;
  readonly maxTokens: number;
  /** How long requests may go on at the old engine, in ms; then they go on at the new one. */
  readonly drainMs: number;
  /** Between two restarts, in ms. */
  readonly pauseMs: number;
}

/** What restarts under load did to the requests. */
export interface RestartFigures {
  readonly restarts: number;
  readonly failedRestarts: number;
  /** Without a gap: the old engine served until the new one was ready. */
  readonly overlapping: number;
  readonly restartMs: { readonly median: number; readonly longest: number };
  readonly streams: number;
  readonly whole: number;
  /** Streams without their proper end, or with an error; and what was wrong with each. */
  readonly brokenStreams: readonly string[];
  /** Other requests without a whole answer. */
  readonly errors: readonly string[];
  /** Streams that went on at another engine. */
  readonly continued: number;
  /** Longest silence within a stream, its first token included, in ms. */
  readonly longestPauseMs: number;
  readonly slotsIdle: number;
  readonly slotsRestored: number;
  /** Share of the prompt tokens that were found in the cache. */
  readonly cachedShare: number;
  /** Most requests that an engine had in its own queue at one look; they should wait at llamero. */
  readonly mostDeferred: number;
}

/** Restarts an engine again and again while clients talk to it through the gateway. */
export async function runRestarts(run: RestartRun, tell: (line: string) => void = () => {}): Promise<RestartFigures> {
  const engine = { parallel: run.clients, ctxSize: 2048, args: ['--threads', '1'], drainTimeout: run.drainMs };
  await using provider = new LlamaCppProvider({ model: run.model, engine, gateway: { port: 'auto' } });
  const times: number[] = [];
  const counts = { failed: 0, overlapping: 0, idle: 0, restored: 0, continued: 0 };
  provider.on('engine-replacement', ({ ok, overlap, slotsIdle, slotsRestored, durationMs, slotsLeft }) => {
    counts.failed += ok ? 0 : 1;
    counts.overlapping += ok && overlap ? 1 : 0;
    counts.idle += slotsIdle;
    counts.restored += slotsRestored;
    times.push(durationMs);
    if (slotsLeft !== null) tell(`left behind: ${slotsLeft}`);
  });
  provider.on('stream-continued', () => (counts.continued += 1));
  using deferred = new DeferredWatch(provider.events);
  await provider.start();
  const gateway = createGateway({ provider });
  const stopping = new AbortController();
  try {
    const { url } = await gateway.listen();
    const clients = Array.from({ length: run.clients }, (_, index) => new RestartClient(url, index, run.maxTokens));
    const talking = clients.map((client) => client.talk(stopping.signal));
    for (let restart = 1; restart <= run.count; restart++) {
      await sleep(run.pauseMs);
      await restartOnce(url);
      if (restart % 10 === 0) tell(`${restart} restarts`);
    }
    stopping.abort();
    await Promise.all(talking);
    const sorted = times.toSorted((a, b) => a - b);
    const sum = (of: (client: RestartClient) => number): number => clients.reduce((all, one) => all + of(one), 0);
    return {
      restarts: run.count,
      failedRestarts: counts.failed,
      overlapping: counts.overlapping,
      restartMs: { median: sorted[Math.floor(sorted.length / 2)] ?? 0, longest: sorted.at(-1) ?? 0 },
      streams: sum(({ streams }) => streams),
      whole: sum(({ whole }) => whole),
      brokenStreams: clients.flatMap(({ brokenStreams }) => brokenStreams),
      errors: clients.flatMap(({ errors }) => errors),
      continued: counts.continued,
      longestPauseMs: Math.max(...clients.map(({ longestPauseMs }) => longestPauseMs)),
      slotsIdle: counts.idle,
      slotsRestored: counts.restored,
      cachedShare:
        sum(({ cachedTokens }) => cachedTokens) /
        Math.max(
          1,
          sum(({ promptTokens }) => promptTokens),
        ),
      mostDeferred: deferred.most,
    };
  } finally {
    stopping.abort();
    await gateway.stop();
  }
}

async function restartOnce(url: string): Promise<void> {
  const answer = await fetch(`${url}/admin/engines/default/restart`, { method: 'POST' });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`the restart failed: ${text}`);
}
