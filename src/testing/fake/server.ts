import { createServer, type IncomingMessage, type Server as HttpServer, type ServerResponse } from 'node:http';
import { createServer as createSocketServer, type Server } from 'node:net';
import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import type { FakeServerArguments } from './arguments.ts';
import { sendError, sendJson } from './answer.ts';
import type { CountersFile } from './counters-file.ts';
import type { FakeDialect } from './dialects.ts';
import { generate, type GenerationContext } from './generation.ts';
import * as documents from './documents.ts';
import type { FakeServerLog } from './log.ts';
import { applyTemplate, BadRequest, readPrompt } from './prompt.ts';
import type { FakeServerFaults, FakeServerSettings } from './settings.ts';
import { SlotQueue } from './slot-queue.ts';
import { tokenSource, type TokenSource } from './tokens.ts';

/** What the double is made of. */
export interface FakeServerParts {
  readonly options: FakeServerArguments;
  readonly settings: FakeServerSettings;
  readonly faults: FakeServerFaults;
  readonly counters: CountersFile;
  readonly log: FakeServerLog;
}

const GENERATING: ReadonlyMap<string, FakeDialect> = new Map([
  ['/v1/chat/completions', 'chat'],
  ['/chat/completions', 'chat'],
  ['/v1/completions', 'completions'],
  ['/completion', 'completion'],
  ['/completions', 'completion'],
  ['/infill', 'completion'],
  ['/v1/responses', 'responses'],
  ['/v1/messages', 'messages'],
]);

/** The HTTP side of the double. */
export class FakeServer {
  /** Whether it answers requests, or 503 because it loads. */
  ready = false;
  readonly #parts: FakeServerParts;
  readonly #server: Server;
  readonly #tokens: TokenSource;
  readonly #slots: SlotQueue;
  readonly #stopping = new AbortController();
  #hanging = false;

  constructor(parts: FakeServerParts) {
    this.#parts = parts;
    this.#tokens = tokenSource(parts.settings.tokens);
    this.#slots = new SlotQueue(parts.options.slots, ({ active, waiting }) =>
      parts.counters.change((values) => {
        values.active = active;
        values.waiting = waiting;
      }),
    );
    this.#server = parts.faults.garbageHttp === true ? garbageServer() : this.#httpServer();
  }

  /** Listens; rejects with the system's error if the address is taken. */
  async listen(): Promise<string> {
    const { host, port } = this.#parts.options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once('error', reject);
    const unix = host.endsWith('.sock');
    if (unix) this.#server.listen(host, resolve);
    else this.#server.listen(port, host, resolve);
    await promise;
    if (unix) return `unix://${host}`;
    const address = this.#server.address();
    return `http://${host}:${typeof address === 'object' ? (address?.port ?? port) : port}`;
  }

  /** Stops decoding and listening. Returns whether nothing is in flight, so that the process may end. */
  stop(): boolean {
    this.#stopping.abort();
    this.#server.close();
    return this.#slots.active === 0;
  }

  #httpServer(): HttpServer {
    const server = createServer({ keepAliveTimeout: 5000 }, (request, response) => {
      response.setHeader('Server', 'llama.cpp');
      response.sendDate = false;
      this.#answer(request, response).catch((error: unknown) => this.#fail(response, error));
    });
    // llama-server has no limit on how long a request may take to arrive.
    server.requestTimeout = 0;
    server.headersTimeout = 0;
    return server;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname: path, searchParams } = new URL(request.url ?? '/', 'http://fake');
    this.#parts.counters.change(({ requests }) => (requests[path] = (requests[path] ?? 0) + 1));
    if (!this.ready) return sendError(response, 503, 'unavailable_error', 'Loading model');
    if (this.#hangs(path)) return;
    if (request.method === 'GET') return this.#get(path, searchParams, response);
    const body: unknown = JSON.parse((await buffer(request)).toString('utf8'));
    const dialect = GENERATING.get(path);
    if (dialect === undefined) return this.#post(path, body, response);
    await generate(this.#context(), dialect, readPrompt(dialect, body, this.#tokens), response);
  }

  #hangs(path: string): boolean {
    const { hangHealth, hangSlots } = this.#parts.faults;
    return this.#hanging && ((path === '/health' && hangHealth === true) || (path === '/slots' && hangSlots === true));
  }

  #get(path: string, query: URLSearchParams, response: ServerResponse): void {
    const { options, counters } = this.#parts;
    switch (path) {
      case '/health':
      case '/v1/health':
        return sendJson(response, 200, { status: 'ok' });
      case '/props':
        return sendJson(response, 200, documents.props(options));
      case '/models':
      case '/v1/models':
        return sendJson(response, 200, documents.models(options));
      case '/slots': {
        const busy = this.#slots.busy();
        if (query.has('fail_on_no_slot') && busy.every(Boolean)) {
          return sendError(response, 503, 'unavailable_error', 'no slot available');
        }
        return sendJson(response, 200, documents.slotList(options, busy, this.#slots.work()));
      }
      case '/metrics':
        response.writeHead(200, { 'Content-Type': 'text/plain; version=0.0.4' });
        response.end(documents.metrics(counters.values));
        return;
      default:
        return sendError(response, 404, 'not_found_error', 'File Not Found');
    }
  }

  #post(path: string, body: unknown, response: ServerResponse): void {
    const { options } = this.#parts;
    switch (path) {
      case '/tokenize':
        return sendJson(response, 200, documents.tokenize(body, this.#tokens));
      case '/detokenize':
        return sendJson(response, 200, documents.detokenize(body, this.#tokens));
      case '/apply-template':
        return sendJson(response, 200, { prompt: applyTemplate(body) });
      case '/v1/messages/count_tokens':
        return sendJson(response, 200, { input_tokens: readPrompt('messages', body, this.#tokens).ids.length });
      case '/v1/embeddings':
      case '/embedding':
      case '/embeddings': {
        if (!options.embeddings) return unsupported(response, 'embeddings', '--embeddings');
        return sendJson(response, 200, documents.embeddings(options, body, this.#tokens, path.startsWith('/v1/')));
      }
      case '/rerank':
      case '/v1/rerank': {
        if (!options.reranking) return unsupported(response, 'reranking', '--reranking');
        return sendJson(response, 200, documents.rerank(options, body, this.#tokens));
      }
      default:
        return sendError(response, 404, 'not_found_error', 'File Not Found');
    }
  }

  #context(): GenerationContext {
    const { options, settings, faults, counters, log } = this.#parts;
    return {
      model: options.alias,
      contextLength: options.contextLength,
      settings,
      faults,
      tokens: this.#tokens,
      slots: this.#slots,
      counters,
      log,
      stopping: this.#stopping.signal,
      onHang: () => {
        this.#hanging = true;
        if (faults.hangBusy === true) spin();
      },
    };
  }

  #fail(response: ServerResponse, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#parts.log.warning(`srv    operator(): got exception: ${message}`);
    if (error instanceof BadRequest) sendError(response, 400, 'invalid_request_error', message);
    else sendError(response, 500, 'server_error', message);
  }
}

function unsupported(response: ServerResponse, what: string, option: string): void {
  sendError(response, 501, 'not_supported_error', `This server does not support ${what}. Start it with \`${option}\``);
}

const SPIN_INTERVAL_MS = 20;
const SPIN_MS = 6;

/** Works without getting anywhere, on a third of a core so that a test does not slow down all others. */
function spin(): void {
  setInterval(() => {
    const until = performance.now() + SPIN_MS;
    while (performance.now() < until);
  }, SPIN_INTERVAL_MS);
}

function garbageServer(): Server {
  return createSocketServer((socket) => {
    // A client that resets the connection on seeing garbage is what the fault is for.
    socket.on('error', () => socket.destroy());
    socket.once('data', () => socket.end(Buffer.concat([Buffer.from([0x16, 0x03, 0x01, 0x00]), randomBytes(256)])));
  });
}
