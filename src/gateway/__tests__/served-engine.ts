import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ConfigInput } from '../../core/config.ts';
import type { LlameroEvents } from '../../core/events.ts';
import { LlamaCppProvider } from '../../core/llm/llama-cpp-provider.ts';
import { writeTinyModel } from '../../testing/index.ts';
import { createGateway } from '../gateway.ts';
import type { GatewayLimits } from '../limits.ts';

/** A gateway with its engine, ended with the scope. */
export interface Served extends AsyncDisposable {
  readonly provider: LlamaCppProvider;
  readonly url: string;
  readonly port: number;
  /** One request; `headers` over those of JSON. */
  post(where: string, body: unknown, headers?: Record<string, string>, signal?: AbortSignal): Promise<Response>;
}

/** A directory of one test file with the models that it asks for. */
export async function modelFolder() {
  const folder = await mkdtemp(path.join(tmpdir(), 'llamero-admission-'));
  return {
    model: async (preset: 'tiny' | 'slow'): Promise<string> => {
      const file = path.join(folder, `${preset}.gguf`);
      await writeTinyModel(file, { preset });
      return file;
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/**
 * A gateway that listens in front of a provider of that configuration, engine started. Callers are whom `X-User-Id` says. The real
 * llama-server gets one thread, since more of them only wait for each other where cores are busy.
 */
export async function serve(config: ConfigInput, limits: Partial<GatewayLimits> = {}): Promise<Served> {
  const { engine, gateway: gatewayConfig } = config;
  const provider = new LlamaCppProvider({
    ...config,
    engine: { ctxSize: 2048, parallel: 2, ...engine, args: ['--threads', '1', ...(engine?.args ?? [])] },
    gateway: { port: 'auto', trustedProxies: ['127.0.0.1'], ...gatewayConfig },
  });
  const gateway = createGateway({ provider, limits });
  const stop = async (): Promise<void> => {
    await gateway.stop();
    await provider.stop();
  };
  try {
    await provider.start();
    const { url, port } = await gateway.listen();
    return {
      provider,
      url,
      port,
      post: (where, body, headers = {}, signal) =>
        fetch(url + where, {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...headers },
          body: typeof body === 'string' ? body : JSON.stringify(body),
          ...(signal === undefined ? {} : { signal }),
        }),
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Events of a provider, in order of arrival. */
export function record<Name extends keyof LlameroEvents>({ provider }: Served, name: Name): LlameroEvents[Name][0][] {
  const seen: LlameroEvents[Name][0][] = [];
  provider.on(name, (...payload) => seen.push(payload[0]));
  return seen;
}

/** The next event of that name. */
export async function nextEvent<Name extends keyof LlameroEvents>(
  { provider }: Served,
  name: Name,
): Promise<LlameroEvents[Name][0]> {
  const [event] = (await once(provider.events, name)) as LlameroEvents[Name];
  return event;
}

/** Asks until it holds. Each question should be a round trip, so that the asking has a pace. */
export async function until(holds: () => Promise<boolean> | boolean, deadlineMs = 10_000): Promise<void> {
  const startedAt = performance.now();
  while (!(await holds())) {
    if (performance.now() - startedAt > deadlineMs)
      throw new Error(`did not hold within ${deadlineMs} ms: ${String(holds)}`);
    await new Promise(setImmediate);
  }
}

/** An answer that is read as it comes. */
export class StreamReader {
  text = '';
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();

  constructor(response: Response) {
    this.#reader = (response.body as ReadableStream<Uint8Array>).getReader();
  }

  /** Reads until that text was there; throws when the stream ends before. */
  async until(text: string): Promise<string> {
    while (!this.text.includes(text)) {
      if (!(await this.#more())) throw new Error(`the stream ended without ${text}: ${this.text}`);
    }
    return this.text;
  }

  /** The next piece with data; what is in `text` already does not count. */
  async next(): Promise<string> {
    const seen = this.text.length;
    while (!this.text.slice(seen).includes('data: ')) {
      if (!(await this.#more())) throw new Error(`the stream ended: ${this.text}`);
    }
    return this.text.slice(seen);
  }

  /** Everything, when the stream has ended. */
  async rest(): Promise<string> {
    while (await this.#more());
    return this.text;
  }

  async #more(): Promise<boolean> {
    const { done, value } = await this.#reader.read();
    if (!done) this.text += this.#decoder.decode(value, { stream: true });
    return !done;
  }
}

/** The data of a stream of events, in order; comments, event names and `[DONE]` aside. */
export function dataOf(stream: string): Record<string, unknown>[] {
  return [...stream.matchAll(/^data: (\{.*)$/gm)].map(([, data = '']) => JSON.parse(data) as Record<string, unknown>);
}

/** The error of an answer, or of the event that ends a stream. */
export async function errorOf(response: Response): Promise<{ message: string; code: string }> {
  const text = await response.text();
  const body = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : dataOf(text).at(-1);
  return body?.['error'] as { message: string; code: string };
}

/** How each dialect is asked for a text. */
export const DIALECTS = [
  {
    name: 'chat',
    path: '/v1/chat/completions',
    limit: 'max_tokens',
    body: (prompt: string) => ({ messages: [{ role: 'user', content: prompt }] }),
  },
  { name: 'completions', path: '/v1/completions', limit: 'max_tokens', body: (prompt: string) => ({ prompt }) },
  { name: 'completion', path: '/completion', limit: 'n_predict', body: (prompt: string) => ({ prompt }) },
  {
    name: 'responses',
    path: '/v1/responses',
    limit: 'max_output_tokens',
    body: (prompt: string) => ({ input: prompt }),
  },
  {
    name: 'messages',
    path: '/v1/messages',
    limit: 'max_tokens',
    body: (prompt: string) => ({ messages: [{ role: 'user', content: prompt }] }),
  },
] as const;
