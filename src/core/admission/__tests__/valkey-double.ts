import { createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';

type Reply = string | number | readonly number[] | Error;

/** Thrown away by the client's library, which then sends the whole script. */
const NO_SCRIPT = new Error('NOSCRIPT No matching script. Please use EVAL.');

/**
 * A double of Valkey: a real TCP server that speaks as much of the protocol (RESP2) as the rate limits use, and has the
 * effect of their scripts, which it tells apart by their first line. It can fall mute, refuse, and die.
 */
export class ValkeyDouble {
  /** `command` with its name, after it was carried out; `renew` for each renewal of leases. */
  readonly events = new EventEmitter<{ command: [string]; renew: [] }>();
  readonly #windows = new Map<string, { value: number; endsAtMs: number }>();
  readonly #leases = new Map<string, Map<string, number>>();
  readonly #scripts = new Map<string, string>();
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  #port = 0;
  #mute = false;
  #errorToAll: string | null = null;
  #commandsToLive = Infinity;
  /** Commands that were carried out, connection set-up apart. */
  commands = 0;

  get url(): string {
    return `valkey://127.0.0.1:${this.#port}`;
  }

  /** Names of all keys that were ever written. */
  get keys(): string[] {
    return [...this.#windows.keys(), ...this.#leases.keys()];
  }

  /** Listens, on the same port as before if there was one. What is stored survives. */
  async start(): Promise<this> {
    this.#server = createServer((socket) => this.#serve(socket));
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  /** Dies: connections break, new ones are refused. */
  async die(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    server.close();
    await once(server, 'close');
  }

  /** Takes everything in and answers nothing, or does so no more. */
  setMute(mute: boolean): void {
    this.#mute = mute;
  }

  /** Answers every command that writes with this error; null: no more. */
  failWith(message: string | null): void {
    this.#errorToAll = message;
  }

  /** Breaks all connections in the middle of the command after that many more. */
  dieAfter(commands: number): void {
    this.#commandsToLive = commands;
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    let buffered = Buffer.alloc(0);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('data', (chunk) => {
      buffered = Buffer.concat([buffered, chunk]);
      for (let request = parse(buffered); request !== null; request = parse(buffered)) {
        buffered = buffered.subarray(request.length);
        this.#answer(socket, request.words);
      }
    });
  }

  #answer(socket: Socket, words: readonly string[]): void {
    if (this.#mute) return;
    const reply = this.#run(words);
    if (this.#commandsToLive < 0) {
      void this.die();
      return;
    }
    socket.write(encode(reply));
    if (words[0]?.toLowerCase() === 'quit') socket.end();
  }

  #run([name = '', ...rest]: readonly string[]): Reply {
    switch (name.toLowerCase()) {
      case 'info':
        return 'redis_version:8.0.0\r\nloading:0\r\nrole:master\r\n';
      case 'eval':
        this.#scripts.set(
          createHash('sha1')
            .update(rest[0] ?? '')
            .digest('hex'),
          rest[0] ?? '',
        );
        return this.#script(rest[0] ?? '', rest[2] ?? '', rest.slice(3));
      case 'evalsha': {
        const script = this.#scripts.get(rest[0] ?? '');
        return script === undefined ? NO_SCRIPT : this.#script(script, rest[2] ?? '', rest.slice(3));
      }
      case 'zrem':
        return this.#counted('zrem', () => Number(this.#leases.get(rest[0] ?? '')?.delete(rest[1] ?? '')));
      case 'quit':
        return 'OK';
      default:
        return new Error(`ERR unknown command '${name}'`);
    }
  }

  #script(text: string, key: string, args: readonly string[]): Reply {
    const [title = ''] = text.split('\n');
    switch (title) {
      case '-- llamero: add to a window':
        return this.#counted('add', () => this.#add(key, Number(args[0]), Number(args[1])));
      case '-- llamero: take a lease':
        return this.#counted('take', () => this.#take(key, args[0] ?? '', Number(args[1]), Number(args[2])));
      case '-- llamero: renew leases':
        return this.#counted('renew', () => this.#renew(key, Number(args[0]), args.slice(1)));
      default:
        return new Error(`ERR the double does not know this script: ${title}`);
    }
  }

  #counted(name: string, effect: () => Reply): Reply {
    if (this.#errorToAll !== null) return new Error(this.#errorToAll);
    this.#commandsToLive -= 1;
    this.commands += 1;
    const reply = effect();
    this.events.emit('command', name);
    if (name === 'renew') this.events.emit('renew');
    return reply;
  }

  #add(key: string, points: number, seconds: number): Reply {
    const known = this.#windows.get(key);
    const open = known !== undefined && known.endsAtMs > Date.now() ? known : null;
    if (open === null && points < 0) return [0, 0];
    const window = open ?? { value: 0, endsAtMs: Date.now() + seconds * 1000 };
    window.value += points;
    this.#windows.set(key, window);
    return [window.value, window.endsAtMs - Date.now()];
  }

  #take(key: string, id: string, limit: number, ttlMs: number): Reply {
    const held = this.#leases.get(key) ?? new Map<string, number>();
    this.#leases.set(key, held);
    for (const [other, endsAtMs] of held) if (endsAtMs <= Date.now()) held.delete(other);
    if (held.size >= limit) return 0;
    held.set(id, Date.now() + ttlMs);
    return 1;
  }

  #renew(key: string, ttlMs: number, ids: readonly string[]): Reply {
    for (const id of ids) this.#leases.get(key)?.set(id, Date.now() + ttlMs);
    return 1;
  }
}

/** The first request in the bytes: an array of bulk strings; null: it has not arrived whole. */
function parse(bytes: Buffer): { words: string[]; length: number } | null {
  let place = 0;
  const line = () => {
    const end = bytes.indexOf('\r\n', place);
    if (end === -1) return null;
    const text = bytes.toString('latin1', place, end);
    place = end + 2;
    return text;
  };
  const head = line();
  if (head === null) return null;
  const words: string[] = [];
  for (let index = 0; index < Number(head.slice(1)); index++) {
    const size = line();
    if (size === null || place + Number(size.slice(1)) + 2 > bytes.length) return null;
    words.push(bytes.toString('utf8', place, place + Number(size.slice(1))));
    place += Number(size.slice(1)) + 2;
  }
  return { words, length: place };
}

function encode(reply: Reply): string {
  if (reply instanceof Error) return `-${reply.message}\r\n`;
  if (typeof reply === 'number') return `:${reply}\r\n`;
  if (typeof reply === 'string') return `$${Buffer.byteLength(reply)}\r\n${reply}\r\n`;
  return `*${reply.length}\r\n${reply.map((item) => `:${item}\r\n`).join('')}`;
}
