import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { describe, it } from 'node:test';
import { type ConfigInput, parseConfig } from '../../core/config.ts';
import { LlameroError } from '../../core/errors.ts';
import { createGateway, type GatewayOptions } from '../gateway.ts';
import type { SeenExchange } from './scripted-backend.ts';
import { hold, ScriptedBackend } from './scripted-backend.ts';

const CHAT = '/v1/chat/completions';
const EVENTS = ['{"t":"a"}', '{"t":"ä\u{1F999}"}', '{"t":"third"}', '[DONE]'];

/** One answer, read as bytes; whatever breaks it is only its end. */
class Connection {
  readonly response: IncomingMessage;
  #received: Buffer[] = [];
  #wake = () => {};
  #isClosed = false;
  #isPaused = false;

  constructor(response: IncomingMessage) {
    this.response = response;
    response.on('data', (chunk: Buffer) => {
      this.#received.push(chunk);
      this.#wake();
    });
    response.on('close', () => {
      this.#isClosed = true;
      this.#wake();
    });
    // The test destroys it, or the server does; the bytes tell.
    response.on('error', () => {});
  }

  get status(): number {
    return this.response.statusCode ?? 0;
  }

  get streamId(): string {
    return String(this.response.headers['x-stream-id']);
  }

  get received(): Buffer {
    return Buffer.concat(this.#received);
  }

  /** Everything until the text is there. */
  async until(text: string): Promise<Buffer> {
    while (!this.received.includes(text)) {
      assert.ok(!this.#isClosed, `the answer ended without ${text}: ${this.received.toString()}`);
      await this.#more();
    }
    return this.received;
  }

  /** Everything until the answer ends. */
  async rest(): Promise<Buffer> {
    while (!this.#isClosed) await this.#more();
    return this.received;
  }

  async error(): Promise<{ code: string; message: string }> {
    const { error } = JSON.parse((await this.rest()).toString()) as { error: { code: string; message: string } };
    return error;
  }

  cut(): void {
    this.response.socket.destroy();
  }

  /** Reads no more. */
  pause(): void {
    this.#isPaused = true;
    this.response.pause();
  }

  #more(): Promise<void> {
    assert.ok(!this.#isPaused);
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

async function serve(
  config: ConfigInput = {},
  options: Partial<GatewayOptions> = {},
  backend = new ScriptedBackend(hold),
) {
  const parsed = parseConfig({
    ...config,
    gateway: { port: 'auto', trustedProxies: ['127.0.0.1'], ...config.gateway },
  });
  const gateway = createGateway({ provider: backend, config: parsed, ...options });
  const { port, url } = await gateway.listen();
  const send = async (method: string, path: string, headers: Record<string, string> = {}, body = '') => {
    const request = httpRequest({ port, method, path, agent: false, headers });
    request.end(body);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return new Connection(response);
  };
  return {
    gateway,
    port,
    send,
    /** A stream that may be come back to, and its exchange, which the test drives. */
    begin: async (headers: Record<string, string> = {}, path = CHAT): Promise<[Promise<Connection>, SeenExchange]> => {
      const seen = backend.next();
      const more = { 'content-type': 'application/json', 'x-stream-resume': 'true', ...headers };
      const connection = send('POST', path, more, '{"stream":true}');
      return [connection, await seen];
    },
    comeBack: (id: string, offset: number, headers: Record<string, string> = {}) =>
      send('GET', `/v1/streams/${id}`, { 'x-stream-offset': String(offset), ...headers }),
    held: async (): Promise<{ held: number; bufferedBytes: number }> => {
      const status = (await (await fetch(`${url}/admin/status`)).json()) as { gateway: { resumableStreams: never } };
      return status.gateway.resumableStreams;
    },
    async [Symbol.asyncDispose]() {
      await gateway.stop();
    },
  };
}

/** Without what was added for coming back. */
function plain(stream: Buffer): string {
  return stream.toString().replaceAll(/^id: [\w-]{24}:\d+\n/gm, '');
}

const WHOLE = EVENTS.map((event) => `data: ${event}\n\n`).join('');

describe('a stream that its client may come back to', { timeout: 30_000 }, () => {
  it('is as it always was, but for an id on each event that tells the bytes until there', async () => {
    await using served = await serve();
    const [connecting, exchange] = await served.begin();
    exchange.head();
    for (const event of EVENTS) exchange.event(event);
    exchange.end();
    const connection = await connecting;
    const whole = await connection.rest();
    assert.equal(connection.status, 200);
    assert.match(connection.streamId, /^[\w-]{24}$/);
    assert.equal(plain(whole), WHOLE);
    const text = whole.toString('latin1');
    const ids = [...text.matchAll(/^id: ([\w-]+):(\d+)\n\n/gm)];
    assert.equal(ids.length, EVENTS.length);
    for (const { 0: line, 1: id, 2: offset, index } of ids) {
      assert.equal(id, connection.streamId);
      assert.equal(Number(offset), index + line.length);
    }
  });

  it('goes on behind any byte, when it is over', async () => {
    await using served = await serve();
    const [connecting, exchange] = await served.begin();
    exchange.head();
    for (const event of EVENTS) exchange.event(event);
    const first = await connecting;
    await first.until('[DONE]');
    first.cut();
    exchange.end();
    const whole = await (await served.comeBack(first.streamId, 0)).rest();
    assert.equal(plain(whole), WHOLE);
    for (let offset = 1; offset < whole.length; offset += 1) {
      const again = await served.comeBack(first.streamId, offset);
      assert.equal(again.status, 200);
      assert.deepEqual(await again.rest(), whole.subarray(offset), `from ${offset}`);
    }
    const nothing = await served.comeBack(first.streamId, whole.length);
    assert.equal(nothing.status, 204);
    const beyond = await served.comeBack(first.streamId, whole.length + 1);
    assert.equal(beyond.status, 400);
  });
});
