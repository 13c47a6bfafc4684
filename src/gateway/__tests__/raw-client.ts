import { connect, type Socket } from 'node:net';

/** An HTTP answer as it stood on the wire. */
export interface RawAnswer {
  status: number;
  /** Names lower-cased; of a repeated one the last. */
  headers: Record<string, string>;
  body: string;
}

/** A bare TCP connection, for requests that no HTTP client would send. */
export class RawClient implements Disposable {
  readonly socket: Socket;
  #received = '';
  #closed = false;
  #wake: () => void = () => {};

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    this.socket.setEncoding('latin1');
    this.socket.on('data', (chunk: string) => {
      this.#received += chunk;
      this.#wake();
    });
    const onClosed = () => {
      this.#closed = true;
      this.#wake();
    };
    this.socket.on('end', onClosed);
    this.socket.on('close', onClosed);
    // A reset is one of the ways in which a server may close; what was received until then counts.
    this.socket.on('error', onClosed);
  }

  send(bytes: string | Buffer): void {
    this.socket.write(bytes);
  }

  /** The next answer that carries a content length. @throws if the connection ends before it is complete. */
  async answer(): Promise<RawAnswer> {
    for (;;) {
      const parsed = parseAnswer(this.#received);
      if (parsed !== null) {
        this.#received = this.#received.slice(parsed.length);
        return parsed.answer;
      }
      if (this.#closed) throw new Error(`the connection ended after: ${JSON.stringify(this.#received)}`);
      await this.#more();
    }
  }

  /** Everything received when the text is there, or the connection ended. */
  async until(text: string): Promise<string> {
    while (!this.#received.includes(text) && !this.#closed) await this.#more();
    return this.#received;
  }

  /** Everything received until now, which later calls then no longer see. */
  take(): string {
    const received = this.#received;
    this.#received = '';
    return received;
  }

  /** Everything received when the server closed the connection. */
  async rest(): Promise<string> {
    while (!this.#closed) await this.#more();
    return this.#received;
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

/** One request on a connection of its own. */
export async function sendRaw(port: number, bytes: string | Buffer): Promise<RawAnswer> {
  using client = new RawClient(port);
  client.send(bytes);
  return await client.answer();
}

/** A complete POST request; `more` are further header lines without line ends. */
export function post(path: string, body: string | Buffer, more: readonly string[] = []): Buffer {
  const bytes = Buffer.from(body);
  const lines = [
    `POST ${path} HTTP/1.1`,
    'Host: localhost',
    ...(more.some((line) => /^content-type:/i.test(line)) ? [] : ['Content-Type: application/json']),
    ...(more.some((line) => /^(content-length|transfer-encoding):/i.test(line))
      ? []
      : [`Content-Length: ${bytes.length}`]),
    ...more,
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), bytes]);
}

function parseAnswer(received: string): { answer: RawAnswer; length: number } | null {
  const headEnd = received.indexOf('\r\n\r\n');
  if (headEnd === -1) return null;
  const [statusLine = '', ...lines] = received.slice(0, headEnd).split('\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1]);
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  const length = headEnd + 4 + Number(headers['content-length'] ?? 0);
  if (received.length < length) return null;
  const body = Buffer.from(received.slice(headEnd + 4, length), 'latin1').toString();
  return { answer: { status, headers, body }, length };
}
