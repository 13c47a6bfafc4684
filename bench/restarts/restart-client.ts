import { setTimeout as sleep } from 'node:timers/promises';

interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  prompt_tokens_details?: { cached_tokens?: number };
}
interface Chunk {
  error?: { message: string };
  choices?: { finish_reason?: string | null; text?: string }[];
  usage?: Usage | null;
}

/** Between two requests of one client, at most: now and then a conversation is idle while the engine is replaced. */
const LONGEST_THINKING_MS = 1500;

/** One conversation that goes on and on; checks that every answer is whole. */
export class RestartClient {
  readonly brokenStreams: string[] = [];
  readonly errors: string[] = [];
  streams = 0;
  whole = 0;
  longestPauseMs = 0;
  promptTokens = 0;
  cachedTokens = 0;
  readonly #url: string;
  readonly #prompt: string;
  readonly #maxTokens: number;
  /** Every second client streams. */
  readonly #isStreaming: boolean;

  constructor(url: string, index: number, maxTokens: number) {
    this.#url = `${url}/v1/completions`;
    this.#prompt = `Client ${index} `.repeat(40);
    this.#maxTokens = maxTokens;
    this.#isStreaming = index % 2 === 0;
  }

  /** Until the signal comes; the request under way is finished. */
  async talk(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#isStreaming) await this.#stream();
      else await this.#ask();
      await sleep(Math.random() * LONGEST_THINKING_MS);
    }
  }

  async #stream(): Promise<void> {
    this.streams += 1;
    try {
      const flaw = await this.#readStream(await this.#send({ stream: true, stream_options: { include_usage: true } }));
      if (flaw !== null) this.brokenStreams.push(flaw);
    } catch (error) {
      this.brokenStreams.push(String(error));
    }
  }

  async #ask(): Promise<void> {
    this.whole += 1;
    try {
      const answer = await this.#send({});
      const body = (await answer.json()) as Chunk;
      const flaw = answer.status === 200 ? this.#account(body.usage ?? null) : JSON.stringify(body);
      if (flaw !== null) this.errors.push(flaw);
    } catch (error) {
      this.errors.push(String(error));
    }
  }

  #send(more: object): Promise<Response> {
    const body = { prompt: this.#prompt, max_tokens: this.#maxTokens, ignore_eos: true, temperature: 0, ...more };
    return fetch(this.#url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  }

  /** @returns what is wrong with it; null: nothing. */
  async #readStream(answer: Response): Promise<string | null> {
    if (answer.status !== 200) return `status ${answer.status}: ${await answer.text()}`;
    const decoder = new TextDecoder();
    let text = '';
    let heardAt = performance.now();
    for await (const piece of answer.body as unknown as AsyncIterable<Uint8Array>) {
      const now = performance.now();
      this.longestPauseMs = Math.max(this.longestPauseMs, now - heardAt);
      heardAt = now;
      text += decoder.decode(piece, { stream: true });
    }
    if (!text.endsWith('data: [DONE]\n\n')) return `no [DONE]: ${text.slice(-200)}`;
    const chunks = [...text.matchAll(/^data: (\{.*)$/gm)].map(([, data = '']) => JSON.parse(data) as Chunk);
    const failed = chunks.find(({ error }) => error !== undefined);
    if (failed !== undefined) return `error event: ${failed.error?.message}`;
    const finishes = chunks.flatMap(({ choices = [] }) => choices).filter((choice) => choice.finish_reason);
    if (finishes.length !== 1) return `${finishes.length} ends`;
    return this.#account(chunks.findLast(({ usage }) => usage)?.usage ?? null);
  }

  #account(usage: Usage | null): string | null {
    if (usage === null) return 'no usage';
    this.promptTokens += usage.prompt_tokens;
    this.cachedTokens += usage.prompt_tokens_details?.cached_tokens ?? 0;
    const { completion_tokens: tokens } = usage;
    return tokens === this.#maxTokens ? null : `${tokens} tokens instead of ${this.#maxTokens}`;
  }
}
