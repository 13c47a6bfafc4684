import { connect, type Socket } from 'node:net';

/** One answer, as the client saw it. Times are ms after the request was written. */
export interface Exchange {
  readonly status: number;
  /** Until the first byte of the body. */
  readonly firstMs: number;
  /** Until the last byte. */
  readonly totalMs: number;
  /** Server-sent events, `[DONE]` included; 0 for an answer that is no stream. */
  readonly events: number;
}

type OnExchange = (exchange: Exchange) => void;

const HEAD_END = '\r\n\r\n';
const LAST_CHUNK = '\r\n0\r\n\r\n';

/**
 * A keep-alive connection that sends one prepared request at a time and understands just enough of the answer to know
 * where it ends. A real HTTP client would cost more than what is measured.
 */
export class LoadConnection {
  readonly #port: number;
  #socket: Socket | null = null;
  /** Whether the socket has carried an answer: an idle one may be closed by the server at any time, and is replaced. */
  #used = false;
  #request: Buffer = Buffer.alloc(0);
  #onExchange: OnExchange | null = null;
  #onFirstByte: (() => void) | null = null;
  #sentAt = 0;
  #firstMs = -1;
  #status = 0;
  /** Bytes of the body that are still to come; -1: chunked. */
  #bodyLeft = 0;
  #head: string | null = '';
  #events = 0;
  #tail = '';

  private constructor(port: number) {
    this.#port = port;
  }

  static async open(port: number): Promise<LoadConnection> {
    const connection = new LoadConnection(port);
    const socket = connection.#connect();
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return connection;
  }

  /** Sends a request; `onExchange` gets its answer. A connection that is lost in between is an answer with status 0. */
  send(request: Buffer, onExchange: OnExchange, onFirstByte: (() => void) | null = null): void {
    this.#request = request;
    this.#onExchange = onExchange;
    this.#onFirstByte = onFirstByte;
    this.#sentAt = performance.now();
    this.#begin(this.#socket ?? this.#connect());
  }

  /** Goes away, whatever is on its way. */
  close(): void {
    this.#onExchange = null;
    this.#socket?.destroy();
  }

  /** Says goodbye, and resolves when the other side has closed too. For a connection with nothing on its way. */
  async end(): Promise<void> {
    const socket = this.#socket;
    if (socket === null) return;
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.end();
    await closed;
  }

  #connect(): Socket {
    const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
    this.#socket = socket;
    this.#used = false;
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#onClose(socket));
    return socket;
  }

  #begin(socket: Socket): void {
    this.#head = '';
    this.#tail = '';
    this.#events = 0;
    this.#firstMs = -1;
    this.#status = 0;
    socket.write(this.#request);
  }

  #onClose(socket: Socket): void {
    if (this.#socket === socket) this.#socket = null;
    if (this.#onExchange === null) return;
    // As every HTTP client does: closed while the request was on its way, so nobody has seen it.
    if (this.#used && this.#head === '') this.#begin(this.#connect());
    else this.#finish(0);
  }

  #onData(chunk: Buffer): void {
    if (this.#head === null) {
      this.#takeBody(chunk);
      return;
    }
    const head = this.#head + chunk.toString('latin1');
    const end = head.indexOf(HEAD_END);
    if (end === -1) {
      this.#head = head;
      return;
    }
    const bodyStart = end + HEAD_END.length - this.#head.length;
    this.#head = null;
    this.#status = Number(head.slice(9, 12));
    const length = /\r\ncontent-length: (\d+)/i.exec(head.slice(0, end))?.[1];
    this.#bodyLeft = length === undefined ? -1 : Number(length);
    if (bodyStart < chunk.length) this.#takeBody(chunk.subarray(bodyStart));
  }

  #takeBody(bytes: Buffer): void {
    if (this.#firstMs < 0) {
      this.#firstMs = performance.now() - this.#sentAt;
      this.#onFirstByte?.();
    }
    if (this.#bodyLeft === -1) {
      this.#takeChunked(bytes);
      return;
    }
    this.#bodyLeft -= bytes.length;
    if (this.#bodyLeft <= 0) this.#finish(this.#status);
  }

  #takeChunked(bytes: Buffer): void {
    if (this.#tail.endsWith('\n') && bytes[0] === 10) this.#events += 1;
    for (let at = bytes.indexOf('\n\n'); at !== -1; at = bytes.indexOf('\n\n', at + 2)) this.#events += 1;
    const ending = bytes.toString('latin1', Math.max(0, bytes.length - LAST_CHUNK.length));
    this.#tail = ending.length < LAST_CHUNK.length ? (this.#tail + ending).slice(-LAST_CHUNK.length) : ending;
    if (this.#tail === LAST_CHUNK) this.#finish(this.#status);
  }

  #finish(status: number): void {
    const onExchange = this.#onExchange;
    this.#onExchange = null;
    this.#used = true;
    onExchange?.({
      status,
      firstMs: this.#firstMs,
      totalMs: performance.now() - this.#sentAt,
      events: this.#events,
    });
  }
}
