import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { LlamaCppProvider } from '../../llama-cpp-provider.ts';
import { connectTo, listeners } from './connected-provider.ts';
import { measurement, type Workload } from './workload.ts';

/** Bytes of each buffer that is kept. */
const BUFFER_BYTES = 65_536;

interface Planted {
  readonly provider: LlamaCppProvider;
  readonly server: Server;
}

const closures = new Map<number, () => number>();
const sockets: Socket[] = [];
const timers: NodeJS.Timeout[] = [];
const buffers: Buffer[] = [];
const controllers: AbortController[] = [];

/** One leak of each kind: a request is answered, and one line is missing that takes something away again. */
export const planted: Workload = ({ urls, tally }) =>
  measurement({
    open: async (): Promise<Planted> => {
      // Nothing of it may keep the process from ending.
      const server = createServer((socket) => socket.unref()).listen(0, '127.0.0.1');
      await once(server, 'listening');
      return { provider: connectTo(urls.plain), server };
    },
    run: async ({ provider, server }, unit) => {
      await tally.of(provider.generate(`prompt ${unit}`, { maxTokens: 1 }));
      provider.on('response', function plantedListener() {});
      closures.set(closures.size, function plantedClosure() {
        return provider.getModelInfo().processCount;
      });
      timers.push(setTimeout(() => undefined, 3_600_000).unref());
      buffers.push(Buffer.alloc(BUFFER_BYTES, 1));
      controllers.push(new AbortController());
      const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
      sockets.push(socket);
      await once(socket, 'connect');
      socket.unref();
    },
    close: async ({ provider, server }) => {
      server.close();
      await provider.cleanup();
    },
    counts: ({ provider }) => listeners({ provider }),
    unitsPerBatch: 20,
    mostBatches: 8,
    settleMs: 500,
  });
