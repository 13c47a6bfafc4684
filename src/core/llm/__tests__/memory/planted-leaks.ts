import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { connectTo, over } from './connected-provider.ts';
import type { Workload } from './workload.ts';

/** Bytes of each buffer that is kept. */
const BUFFER_BYTES = 65_536;

const closures = new Map<number, () => number>();
const sockets: Socket[] = [];
const timers: NodeJS.Timeout[] = [];
const buffers: Buffer[] = [];
const controllers: AbortController[] = [];

/** One leak of each kind: a request is answered, and one line is missing that takes something away again. */
export const planted: Workload = async ({ urls, tally }) => {
  // Nothing of it may keep the process from ending.
  // Both ends are kept: an end that is collected resets the other.
  const connections = { begun: 0, accepted: 0 };
  const server = createServer((socket) => {
    sockets.push(socket.unref());
    connections.accepted += 1;
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const work = over({ provider: connectTo(urls.plain) }, async ({ provider }, unit) => {
    await tally.of(provider.generate(`prompt ${unit}`, { maxTokens: 1 }));
    provider.events.setMaxListeners(Infinity);
    provider.on('response', function plantedListener() {});
    closures.set(closures.size, function plantedClosure() {
      return provider.getModelInfo().processCount;
    });
    timers.push(setTimeout(() => undefined, 3_600_000).unref());
    buffers.push(Buffer.alloc(BUFFER_BYTES, 1));
    controllers.push(new AbortController());
    connections.begun += 1;
    const socket = connect(port, '127.0.0.1');
    sockets.push(socket);
    await once(socket, 'connect');
    socket.unref();
  });
  return {
    ...work,
    close: async () => {
      // A client is connected before it is accepted, and reset if the server closes in between.
      while (connections.accepted < connections.begun) await once(server, 'connection');
      server.close();
      await work.close();
    },
  };
};
