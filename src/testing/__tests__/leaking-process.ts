/** Measures units of work of which each forgets to take some things away again: `node leaking-process.ts listener timer`. */
import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { measureLeak } from '../index.ts';

class Planted {
  readonly text = 'kept';
}

interface Subject {
  readonly emitter: EventEmitter;
  readonly planted: Planted;
  readonly kept: unknown[];
}

const KILOBYTES_4 = 4096;
const subjects: Subject[] = [];
const sockets: Socket[] = [];
const children: ChildProcess[] = [];
const server = createServer((socket) => socket.unref()).listen(0, '127.0.0.1');
await once(server, 'listening');
server.unref();

const PLANTS = {
  nothing: async () => {
    const timer = setTimeout(() => undefined, 60_000);
    const controller = new AbortController();
    controller.signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
    await turn();
    controller.abort();
  },
  listener: ({ emitter }) => void emitter.on('event', () => undefined),
  closure: ({ kept }) => void kept.push(function plantedClosure() {}),
  object: ({ kept }) => void kept.push(new Planted()),
  timer: ({ kept }) => void kept.push(setTimeout(() => undefined, 3_600_000).unref()),
  signal: ({ kept }) => void kept.push(new AbortController().signal),
  socket: async () => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').unref();
    sockets.push(socket);
    await once(socket, 'connect');
  },
  child: async () => {
    const child = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
    children.push(child);
    await once(child, 'exit');
  },
  buffer: ({ kept }, unit) => void kept.push(Buffer.alloc(KILOBYTES_4, unit)),
  text: ({ kept }, unit) => void kept.push(Array.from({ length: 1000 }, (_, index) => unit * index + 0.5)),
  subject: (subject) => void (subjects.includes(subject) || subjects.push(subject)),
} satisfies Record<string, (subject: Subject, unit: number) => void | Promise<void>>;

/** What can be planted. */
export type PlantName = keyof typeof PLANTS;

const names = process.argv.slice(2) as PlantName[];
const plants: readonly ((subject: Subject, unit: number) => void | Promise<void>)[] = names.map((name) => PLANTS[name]);
const report = await measureLeak<Subject>({
  name: 'leaking-process',
  open: () => ({ emitter: new EventEmitter().setMaxListeners(Infinity), planted: new Planted(), kept: [] }),
  run: async (subject, unit) => {
    for (const plant of plants) await plant(subject, unit);
  },
  counts: ({ emitter }) => ({ listeners: emitter.listenerCount('event') }),
  classes: [Planted],
  unitsPerBatch: names.includes('child') ? 2 : names.includes('nothing') ? 200 : 40,
  // What leaks is seen at once; that nothing does may take a longer look.
  mostBatches: names.includes('nothing') ? 24 : 8,
  settleMs: 100,
});
process.stdout.write(JSON.stringify(report));
