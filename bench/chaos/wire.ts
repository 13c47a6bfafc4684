import { type Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import type { PlannedRequest } from './plan.ts';

/** Where a request goes: a port of this machine, or a UNIX socket. */
export type Address = { readonly port: number } | { readonly socketPath: string };

/** One request as it goes over the wire. */
export interface Sending extends Partial<Pick<PlannedRequest, 'leave' | 'stall'>> {
  readonly to: Address;
  readonly method?: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | null;
  /** Without one, the connection is used once. */
  readonly agent?: Agent;
  /** After this long the client gives up; a request that needs it was not answered. */
  readonly deadlineMs: number;
  /** A piece of a stream came. */
  readonly onEvent?: () => void;
}

/** Everything that came back. */
export interface Received {
  /** 0: nothing came. */
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The answer ended as HTTP says that it ends. */
  readonly complete: boolean;
  /** The client went away, as planned. */
  readonly left: boolean;
  readonly timedOut: boolean;
  /** What the connection broke with. */
  readonly error: string | null;
  /** From sending to the first event with data, in ms; null: there was none. */
  readonly firstEventMs: number | null;
  readonly startedAt: number;
  readonly endedAt: number;
}

const DATA = Buffer.from('data:');
const EVENT_END = Buffer.from('\n\n');

/** Sends one request and takes what comes, or behaves as badly as planned. Never throws. */
export function exchange(sending: Sending): Promise<Received> {
  const { promise, resolve } = Promise.withResolvers<Received>();
  const { to, method = 'POST', path, headers = {}, body = null, agent, leave = null, deadlineMs } = sending;
  const startedAt = performance.now();
  const answer = new Answer(sending, startedAt);
  const length = body === null ? {} : { 'content-length': String(body.length) };
  const outgoing = request({
    host: '127.0.0.1',
    ...to,
    method,
    path,
    agent: agent ?? false,
    headers: { ...headers, ...length },
  });
  const goAway = (late: boolean) => {
    if (late) answer.timedOut = true;
    else answer.left = true;
    outgoing.destroy();
  };
  const deadline = setTimeout(goAway, deadlineMs, true);
  const leaving = leave !== null && 'afterMs' in leave ? setTimeout(goAway, leave.afterMs, false) : undefined;
  outgoing.on('response', (incoming) => answer.take(incoming, () => goAway(false)));
  outgoing.on('error', (error: NodeJS.ErrnoException) => (answer.error ??= error.code ?? error.message));
  outgoing.on('close', () => {
    clearTimeout(deadline);
    clearTimeout(leaving);
    resolve(answer.received());
  });
  outgoing.end(body ?? undefined);
  return promise;
}

/** Sends bytes that need be no HTTP, and takes what comes until the other side closes, or until the client leaves. */
export function rawExchange(
  port: number,
  bytes: Buffer,
  leaveMs: number | null,
  deadlineMs: number,
): Promise<Received> {
  const { promise, resolve } = Promise.withResolvers<Received>();
  const startedAt = performance.now();
  const chunks: Buffer[] = [];
  const seen = { left: false, timedOut: false, ended: false, error: null as string | null };
  const socket = connect({ port, host: '127.0.0.1' });
  const goAway = (late: boolean) => {
    if (late) seen.timedOut = true;
    else seen.left = true;
    socket.destroy();
  };
  const deadline = setTimeout(goAway, deadlineMs, true);
  const leaving = leaveMs === null ? undefined : setTimeout(goAway, leaveMs, false);
  socket.on('connect', () => socket.write(bytes));
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('end', () => (seen.ended = true));
  socket.on('error', (error: NodeJS.ErrnoException) => (seen.error = error.code ?? error.message));
  socket.on('close', () => {
    clearTimeout(deadline);
    clearTimeout(leaving);
    const { status, headers, body } = parseHead(Buffer.concat(chunks));
    const { left, timedOut, error, ended: complete } = seen;
    const endedAt = performance.now();
    resolve({ status, headers, body, complete, left, timedOut, error, firstEventMs: null, startedAt, endedAt });
  });
  return promise;
}

/** What has come of one answer. */
class Answer {
  left = false;
  timedOut = false;
  error: string | null = null;
  readonly #sending: Sending;
  readonly #startedAt: number;
  readonly #chunks: Buffer[] = [];
  #incoming: IncomingMessage | null = null;
  #events = 0;
  #stalled = false;
  #firstEventMs: number | null = null;

  constructor(sending: Sending, startedAt: number) {
    this.#sending = sending;
    this.#startedAt = startedAt;
  }

  take(incoming: IncomingMessage, leave: () => void): void {
    this.#incoming = incoming;
    incoming.on('error', (error: NodeJS.ErrnoException) => (this.error ??= error.code ?? error.message));
    incoming.on('data', (chunk: Buffer) => this.#onData(chunk, incoming, leave));
  }

  received(): Received {
    const { left, timedOut, error } = this;
    return {
      status: this.#incoming?.statusCode ?? 0,
      headers: this.#incoming?.headers ?? {},
      body: Buffer.concat(this.#chunks),
      complete: this.#incoming?.complete ?? false,
      left,
      timedOut,
      error,
      firstEventMs: this.#firstEventMs,
      startedAt: this.#startedAt,
      endedAt: performance.now(),
    };
  }

  #onData(chunk: Buffer, incoming: IncomingMessage, leave: () => void): void {
    this.#chunks.push(chunk);
    if (chunk.includes(DATA)) {
      this.#firstEventMs ??= performance.now() - this.#startedAt;
      this.#sending.onEvent?.();
    }
    for (let at = chunk.indexOf(EVENT_END); at !== -1; at = chunk.indexOf(EVENT_END, at + 2)) this.#events += 1;
    const { leave: leaving = null, stall = null } = this.#sending;
    if (leaving !== null && 'afterEvents' in leaving && this.#events >= leaving.afterEvents) leave();
    else if (stall !== null && !this.#stalled && this.#events >= stall.afterEvents) {
      this.#stalled = true;
      incoming.pause();
      setTimeout(() => incoming.resume(), stall.ms);
    }
  }
}

/** Head and body of an answer read off a bare socket; one whose length is declared ends there. */
function parseHead(bytes: Buffer): { status: number; headers: IncomingHttpHeaders; body: Buffer } {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) return { status: 0, headers: {}, body: bytes };
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine)?.[1] ?? 0);
  return { status, headers, body: bytes.subarray(end + 4) };
}
