import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import { createGateway } from '../../../../gateway/gateway.ts';
import { collectGarbage } from '../../../../testing/leak/collect-garbage.ts';
import { readMemory } from '../../../../testing/leak/memory-usage.ts';
import { estimateSlope, type Point, type Slope } from '../../../../testing/leak/robust-slope.ts';
import { openConnections } from '../../../engine/connections.ts';
import type { LlamaCppProvider } from '../../llama-cpp-provider.ts';
import { connectTo } from './connected-provider.ts';
import { type EngineUrls, MOST_HELD } from './engines.ts';

/** Enough for an interval: see {@link estimateSlope}. */
const STEPS = 10;
const HELD_EACH_STEP = 25;

/** Bytes that each of so many at once costs: heap and buffers together, and all anonymous memory (0 where the system does not tell). */
export interface HeldMemory {
  readonly objects: Slope;
  readonly anonymous: Slope;
}

interface Holder extends AsyncDisposable {
  /** Begins one more, and resolves when it is where it stays. */
  hold(): Promise<void>;
}

/** What can be held, by kind. */
const HOLDERS = {
  'bare connections': ({ silent }) => holdConnections(silent),
  'requests in flight': ({ silent }) => holdRequests(silent),
  'requests that wait': ({ silent }) => holdWaiting(silent),
  'open streams': ({ holding }) => holdStreams(holding),
  'relayed streams': ({ holding }) => holdRelayed(holding),
} as const satisfies Record<string, (urls: EngineUrls) => Holder | Promise<Holder>>;

/** See {@link HOLDERS}. */
export type HeldKind = keyof typeof HOLDERS;

/** Memory over the number of those that are held. The first ones, which also make what is made once, do not count. */
export async function measureHeld(kind: HeldKind, urls: EngineUrls): Promise<HeldMemory> {
  await using holder = await HOLDERS[kind](urls);
  const objects: Point[] = [];
  const anonymous: Point[] = [];
  for (let step = 0; step <= STEPS; step += 1) {
    await Promise.all(Array.from({ length: HELD_EACH_STEP }, () => holder.hold()));
    await collectGarbage();
    const memory = readMemory();
    objects.push([step * HELD_EACH_STEP, memory.heap + memory.external]);
    anonymous.push([step * HELD_EACH_STEP, memory.anonymous ?? 0]);
  }
  return { objects: estimateSlope(objects), anonymous: estimateSlope(anonymous) };
}

/** What undici takes for a connection with a request on it: the least that any proxy takes. */
async function holdConnections(url: string): Promise<Holder> {
  const pool = await openConnections(url, {});
  const body = JSON.stringify({ prompt: 'Hello' });
  return {
    hold: () =>
      new Promise((resolve, reject) => {
        const handler: Dispatcher.DispatchHandler = {
          onRequestStart: () => resolve(),
          onResponseStart: () => undefined,
          onResponseData: () => undefined,
          onResponseEnd: () => undefined,
          // Also what it ends with when the pool is destroyed; then nobody hears of it.
          onResponseError: (_controller, error) => reject(error),
        };
        pool.dispatch({ path: '/completion', method: 'POST', body }, handler);
      }),
    [Symbol.asyncDispose]: () => pool.destroy(),
  };
}

/** Whole answers that do not come. */
function holdRequests(url: string): Holder {
  return holdUnanswered(connectTo(url, { maxConcurrentRequests: MOST_HELD }));
}

/** The same in the queue, behind one that does not end. */
function holdWaiting(url: string): Holder {
  return holdUnanswered(
    connectTo(url, { maxConcurrentRequests: 1, maxQueue: MOST_HELD, timeouts: { queue: 600_000 } }),
  );
}

function holdUnanswered(provider: LlamaCppProvider): Holder {
  const requests: Promise<unknown>[] = [];
  return {
    hold: async () => {
      requests.push(provider.generate('Hello').catch(() => null));
      await provider.tokenize('a round trip later the request is at the engine');
    },
    [Symbol.asyncDispose]: async () => {
      await provider.cleanup();
      await Promise.all(requests);
    },
  };
}

/** Streams of which two tokens came. */
function holdStreams(url: string): Holder {
  const provider = connectTo(url, { maxConcurrentRequests: MOST_HELD });
  const streams: AsyncIterator<unknown>[] = [];
  return {
    hold: async () => {
      const stream = provider.stream('Hello');
      streams.push(stream);
      await stream.next();
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(streams.map(async (stream) => stream.return?.()));
      await provider.cleanup();
    },
  };
}

/** The same through a gateway; the bare sockets of the clients are in the figure. */
async function holdRelayed(url: string): Promise<Holder> {
  const provider = connectTo(url, { maxConcurrentRequests: MOST_HELD });
  const gateway = createGateway({ provider, config: provider.config });
  const { port } = await gateway.listen({ port: 0 });
  const sockets: Socket[] = [];
  const body = JSON.stringify({ prompt: 'Hello', stream: true });
  const head = `POST /completion HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
  return {
    hold: async () => {
      const socket = connect(port, '127.0.0.1');
      sockets.push(socket);
      socket.write(`${head}\r\n\r\n${body}`);
      await once(socket, 'data');
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await gateway.stop();
      await provider.cleanup();
    },
  };
}
