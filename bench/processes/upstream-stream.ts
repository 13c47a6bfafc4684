import type { Socket } from 'node:net';
import { LAST_EVENTS, TOKEN_EVENT } from './upstream-answers.ts';

const HEAD =
  'HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n';
const TOKEN = httpChunk(TOKEN_EVENT);
const END = `${LAST_EVENTS.map((event) => httpChunk(event)).join('')}0\r\n\r\n`;
/** Events that are written together when a stream runs as fast as it can. */
const BURST = 16;
const TOKEN_BURST = TOKEN.repeat(BURST);

/** All streams of one pace move in step, as the slots of an engine do, which decodes them in one batch. */
const steps = new Map<number, Set<EventSource>>();

/** One answer of server-sent events; each event is an HTTP chunk of its own, as llama-server sends them. */
export class EventSource {
  readonly #socket: Socket;
  readonly #intervalMs: number;
  readonly #idles: boolean;
  readonly #onClose = (): void => this.#leave();
  #left: number;

  constructor(socket: Socket, options: { count: number; intervalMs: number }) {
    this.#socket = socket;
    this.#intervalMs = options.intervalMs;
    this.#idles = options.count === 0;
    this.#left = Math.max(1, options.count);
  }

  start(): void {
    this.#socket.write(HEAD);
    if (this.#idles) {
      this.#socket.write(TOKEN);
    } else if (this.#intervalMs === 0) {
      this.#pour();
    } else {
      this.#socket.once('close', this.#onClose);
      stepGroup(this.#intervalMs).add(this);
    }
  }

  /** The next event of a paced stream. */
  step(): void {
    this.#left -= 1;
    if (this.#left > 0) {
      this.#socket.write(TOKEN);
      return;
    }
    this.#leave();
    this.#socket.write(TOKEN + END);
  }

  #leave(): void {
    // The next request on this connection brings its own.
    this.#socket.off('close', this.#onClose);
    steps.get(this.#intervalMs)?.delete(this);
  }

  #pour(): void {
    while (this.#left >= BURST) {
      this.#left -= BURST;
      if (!this.#socket.write(TOKEN_BURST)) {
        this.#socket.once('drain', () => this.#pour());
        return;
      }
    }
    this.#socket.write(TOKEN.repeat(this.#left) + END);
  }
}

function stepGroup(intervalMs: number): Set<EventSource> {
  const known = steps.get(intervalMs);
  if (known !== undefined) return known;
  const group = new Set<EventSource>();
  steps.set(intervalMs, group);
  setInterval(() => {
    for (const source of group) source.step();
  }, intervalMs);
  return group;
}

function httpChunk(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
}
