import type { Ledger } from './ledger.ts';
import type { Caller, WatchedServe } from './watched-serve.ts';

/** Tokens asked for by a client that leaves. */
export const ABANDONED_TOKENS = 800;

/** The first event has the role only. */
const FEW_EVENTS = 5;

interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
}

/** The requests of a run. Each is entered in the ledger as its caller saw it end. */
export class Traffic {
  readonly #serve: WatchedServe;
  readonly #ledger: Ledger;
  #prompts = 0;

  constructor(serve: WatchedServe, ledger: Ledger) {
    this.#serve = serve;
    this.#ledger = ledger;
  }

  /**
   * A chat as a stream.
   * @param onTokens called once, when it has its first tokens.
   * @throws Error when it is neither whole nor refused.
   */
  async stream(caller: Caller, maxTokens: number, onTokens: () => void = () => {}): Promise<void> {
    const response = await this.#chat(caller, maxTokens, true);
    if (!response.ok) return await this.#refused(response);
    let text = '';
    let begun = false;
    for await (const part of parts(response)) {
      text += part;
      if (begun || text.split('\ndata: ').length < FEW_EVENTS) continue;
      begun = true;
      onTokens();
    }
    if (!text.includes('data: [DONE]')) throw new Error(`A stream was not whole: ${text.slice(-200)}`);
    const continued = text.match(/^: continued/gm)?.length ?? 0;
    this.#ledger.completed += 1;
    this.#ledger.wholeStreams += 1;
    this.#ledger.continuations += continued;
    if (continued > 0) this.#ledger.continuedStreams += 1;
    this.#ledger.count(usageOf(text));
  }

  /** A chat whose answer comes at once. */
  async answer(caller: Caller, maxTokens: number): Promise<void> {
    const response = await this.#chat(caller, maxTokens, false);
    if (!response.ok) return await this.#refused(response);
    this.#ledger.completed += 1;
    this.#ledger.count(((await response.json()) as { usage: Usage }).usage);
  }

  /** A chat whose caller goes away with the first tokens. */
  async leave(caller: Caller): Promise<void> {
    const leaving = new AbortController();
    const response = await this.#chat(caller, ABANDONED_TOKENS, true, leaving.signal);
    for await (const part of parts(response)) {
      if (part.includes('data: ')) break;
    }
    leaving.abort();
    this.#ledger.cancelled += 1;
  }

  /** Somebody without a key. */
  async knock(): Promise<void> {
    const response = await fetch(`${this.#serve.url}/v1/chat/completions`, { method: 'POST', body: '{}' });
    if (response.status !== 401) throw new Error(`Without a key: ${response.status}`);
    await response.arrayBuffer();
    this.#ledger.withoutKey += 1;
  }

  /** Another route, which generates nothing. */
  async tokenize(caller: Caller): Promise<void> {
    const response = await this.#post('/tokenize', caller, { content: 'Hello' });
    if (!response.ok) throw new Error(`/tokenize: ${response.status}`);
    await response.arrayBuffer();
    this.#ledger.completed += 1;
  }

  #chat(caller: Caller, maxTokens: number, stream: boolean, signal?: AbortSignal): Promise<Response> {
    this.#prompts += 1;
    const messages = [{ role: 'user', content: `Question number ${this.#prompts}` }];
    const body = {
      messages,
      max_tokens: maxTokens,
      stream,
      ...(stream && { stream_options: { include_usage: true } }),
    };
    return this.#post('/v1/chat/completions', caller, body, signal);
  }

  #post(route: string, caller: Caller, body: unknown, signal: AbortSignal | null = null): Promise<Response> {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${this.#serve.keys[caller]}` };
    return fetch(`${this.#serve.url}${route}`, { method: 'POST', headers, body: JSON.stringify(body), signal });
  }

  async #refused(response: Response): Promise<void> {
    const { error } = (await response.json()) as { error: { code: string } };
    this.#ledger.failed += 1;
    if (error.code === 'rate_limit_exceeded') this.#ledger.rateLimited += 1;
    else if (error.code === 'queue_full') this.#ledger.queueFull += 1;
    else throw new Error(`A request failed: ${response.status} ${error.code}`);
  }
}

async function* parts(response: Response): AsyncGenerator<string> {
  if (response.body === null) throw new Error('There is no answer.');
  const decoder = new TextDecoder();
  for await (const bytes of response.body) yield decoder.decode(bytes, { stream: true });
}

function usageOf(stream: string): Usage {
  const frames = stream.matchAll(/^data: (\{.*"usage":\{.*\})$/gm);
  const last = [...frames].at(-1)?.[1];
  if (last === undefined) throw new Error('The stream has no usage.');
  return (JSON.parse(last) as { usage: Usage }).usage;
}
