import { type AddressInfo, connect, createServer } from 'node:net';
import { announcePort } from './agent.ts';

/** Below even the bare proxy: bytes from one socket to another, without HTTP. What Node's sockets alone cost. */
const { upstream } = JSON.parse(process.argv[2] ?? '{}') as { upstream: number };

const server = createServer({ noDelay: true }, (client) => {
  const engine = connect({ port: upstream, host: '127.0.0.1', noDelay: true });
  client.pipe(engine).pipe(client);
  client.on('error', () => engine.destroy());
  engine.on('error', () => client.destroy());
});
server.listen(0, '127.0.0.1', () => announcePort((server.address() as AddressInfo).port));
