import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

const GENERATING = /^POST \/(?:v1\/(?:chat\/completions|completions|responses|messages)|completion) /;

/** A way to a server that breaks the connection of one stream behind so many bytes of its answer. */
export class Scissors implements AsyncDisposable {
  /** Where the next stream is cut; null when it has been. */
  cutAt: number | null = null;
  /** The latest answer to a generating request, as far as it came through. */
  answered = Buffer.alloc(0);
  readonly url: string;
  readonly #server: ReturnType<typeof createServer>;
  readonly #sockets = new Set<Socket>();

  private constructor(server: ReturnType<typeof createServer>) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start(port: number): Promise<Scissors> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const scissors = new Scissors(server);
    server.on('connection', (client) => scissors.#join(client, connect(port, '127.0.0.1')));
    return scissors;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #join(client: Socket, server: Socket): void {
    let generates = false;
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      // What breaks here breaks on purpose.
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        client.destroySoon();
        server.destroySoon();
      });
    }
    client.on('data', (bytes) => {
      generates = GENERATING.test(bytes.toString('latin1', 0, 64));
      if (generates) this.answered = Buffer.alloc(0);
      server.write(bytes);
    });
    server.on('data', (bytes) => {
      if (!generates) {
        client.write(bytes);
        return;
      }
      const left = this.cutAt === null ? Infinity : this.cutAt - this.answered.length;
      const passed = bytes.subarray(0, left);
      this.answered = Buffer.concat([this.answered, passed]);
      client.write(passed);
      if (passed.length === bytes.length && left > passed.length) return;
      this.cutAt = null;
      generates = false;
      server.destroy();
    });
  }
}
