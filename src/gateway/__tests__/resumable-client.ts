import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { type ConfigInput, parseConfig } from '../../core/config.ts';
import { createGateway, type GatewayOptions } from '../gateway.ts';
import { hold, ScriptedBackend, type SeenExchange } from './scripted-backend.ts';
import { until } from './served-engine.ts';

/** The route that streams are begun with. */
export const CHAT = '/v1/chat/completions';
/** Asks for a stream that may be come back to. */
export const RESUMABLE = { 'content-type': 'application/json', 'x-stream-resume': 'true' };

/** One answer, read as bytes; whatever breaks it is only its end. */
export class Connection {
  readonly response: IncomingMessage;
  #received: Buffer[] = [];
  #wake = () => {};
  #isClosed = false;

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
    // The test cuts it, or the server does; the bytes tell.
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

  /** Everything that came, when the text is there. */
  async until(text: string): Promise<Buffer> {
    while (!this.received.includes(text)) {
      assert.ok(!this.#isClosed, `the answer ended without ${text}: ${this.received.toString()}`);
      await this.#more();
    }
    return this.received;
  }

  /** Everything, when the answer has ended. */
  async rest(): Promise<Buffer> {
    while (!this.#isClosed) await this.#more();
    return this.received;
  }

  /** The code of the error that is the answer. */
  async error(): Promise<string> {
    const { error } = JSON.parse((await this.rest()).toString()) as { error: { code: string } };
    return error.code;
  }

  cut(): void {
    this.response.socket.destroy();
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

/** Sends one request on a connection of its own; returns when the head of the answer is there. */
export async function send(
  port: number,
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body = '',
): Promise<Connection> {
  const request = httpRequest({ port, method, path, agent: false, headers });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return new Connection(response);
}

/** Takes a stream up again at an offset. */
export function comeBack(
  port: number,
  id: string,
  offset: number,
  headers: Record<string, string> = {},
): Promise<Connection> {
  return send(port, 'GET', `/v1/streams/${id}`, { 'x-stream-offset': String(offset), ...headers });
}

/** What the gateway says of itself. */
export interface GatewayStatus {
  openAnswers: number;
  resumableStreams: { held: number; bufferedBytes: number };
}

/** Asks a gateway for its state. */
export async function statusOf(url: string, headers: Record<string, string> = {}): Promise<GatewayStatus> {
  const answer = (await (await fetch(`${url}/admin/status`, { headers })).json()) as { gateway: GatewayStatus };
  return answer.gateway;
}

/** A gateway in front of a script, ended with the scope. Callers are whom `X-User-Id` says. */
export async function serveScript(
  config: ConfigInput = {},
  options: Partial<GatewayOptions> = {},
  backend = new ScriptedBackend(hold),
) {
  const gateway = createGateway({
    provider: backend,
    config: parseConfig({
      ...config,
      gateway: { port: 'auto', trustedProxies: ['127.0.0.1'], ...config.gateway },
    }),
    ...options,
  });
  const { port, url } = await gateway.listen();
  return {
    gateway,
    backend,
    port,
    url,
    /** A stream that may be come back to, and its exchange, which the test drives. */
    begin: async (
      headers: Record<string, string> = {},
      path = CHAT,
    ): Promise<{ connecting: Promise<Connection>; exchange: SeenExchange }> => {
      const seen = backend.next();
      const connecting = send(port, 'POST', path, { ...RESUMABLE, ...headers }, '{"stream":true}');
      return { connecting, exchange: await seen };
    },
    /** Resolves when nobody is connected to a stream. */
    alone: () => until(async () => (await statusOf(url)).openAnswers === 0),
    async [Symbol.asyncDispose]() {
      await gateway.stop();
    },
  };
}

/** A stream without what was added to it for coming back. */
export function plain(stream: Buffer): string {
  return stream.toString().replaceAll(/^id: [\w-]{24}:\d+\n/gm, '');
}
