import { z } from 'zod';
import { clientOf } from '../admission/client-options.ts';
import { type Config, isProduction } from '../config.ts';
import { LlameroError } from '../errors.ts';
import type { TokenCounts } from '../events.ts';
import type { Exchange, PipelineRequest, ResponseSink } from '../exchange.ts';
import { continuationRules, planStream, type StreamRules } from '../openai/continuation/plan-stream.ts';
import { checkHazards } from '../openai/engine-hazards.ts';
import { workOf } from '../openai/request-work.ts';
import { engineRoute } from '../openai/routes.ts';
import { tokenCountsOf } from '../openai/usage.ts';
import { newRequestId } from '../request-id.ts';
import { AnswerStream } from './answer-stream.ts';
import {
  type ChatAnswer,
  type Generation,
  type StreamPart,
  toChatPart,
  toCompletionPart,
  toEmbeddings,
  toRanking,
  toText,
  toTokens,
} from './answers.ts';
import { collectAnswer } from './collect-answer.ts';
import { foldChat, foldGeneration } from './fold-answer.ts';
import {
  type CallOptions,
  chatBody,
  type ChatMessage,
  type ChatOptions,
  completionBody,
  type GenerateOptions,
  parseArgument,
  parseCallOptions,
  parseChatOptions,
  parseGenerateOptions,
  parseRerankOptions,
  type RerankOptions,
} from './generate-options.ts';

const promptSchema = z.string();
const messagesSchema = z.array(z.looseObject({ role: z.string() })).min(1);
const embedSchema = z.union([z.string(), z.array(z.string()).min(1)]);
const tokensSchema = z.array(z.number().int().min(0));

/**
 * What a program may ask of a model. Each call becomes one request and goes through {@link exchange}, as the gateway's do; who
 * answers it, and whether there is an engine, is the affair of whoever extends this.
 */
export abstract class ModelCalls {
  /** What it runs by. */
  abstract readonly config: Config;

  /** One request, relayed into `sink`. Never throws. */
  abstract exchange(request: PipelineRequest, sink: ResponseSink): Exchange;

  /** Completes a prompt as it is, without chat template. @throws LlameroError */
  async generate(prompt: string, options?: GenerateOptions): Promise<Generation> {
    const parsed = this.#whole(parseGenerateOptions(options));
    return onceMoreIfInterrupted(() => foldGeneration(this.stream(prompt, parsed)));
  }

  /** Like {@link generate}, piece by piece. The request is sent at the first read; leaving the loop cancels it. */
  stream(prompt: string, options?: GenerateOptions): AsyncIterableIterator<StreamPart> {
    const parsed = parseGenerateOptions(options);
    const body = completionBody(parseArgument('prompt', promptSchema, prompt), parsed);
    return this.#stream('POST /completion', body, toCompletionPart, parsed);
  }

  /** Answers a chat with the model's own template. Tools, response_format and images as llama-server understands them. */
  async chat(messages: readonly ChatMessage[], options?: ChatOptions): Promise<ChatAnswer> {
    const parsed = this.#whole(parseChatOptions(options));
    return onceMoreIfInterrupted(() => foldChat(this.chatStream(messages, parsed)));
  }

  /** Like {@link chat}, piece by piece. */
  chatStream(messages: readonly ChatMessage[], options?: ChatOptions): AsyncIterableIterator<StreamPart> {
    const parsed = parseChatOptions(options);
    parseArgument('messages', messagesSchema, messages);
    return this.#stream('POST /v1/chat/completions', chatBody(messages, parsed), toChatPart, parsed);
  }

  /** One vector per input text, in their order. */
  async embed(
    input: string | readonly string[],
    options?: CallOptions,
  ): Promise<{ embeddings: number[][]; usage: TokenCounts | null }> {
    const parsed = parseCallOptions(options);
    const answer = await this.#call(
      'POST /v1/embeddings',
      { input: parseArgument('input', embedSchema, input), ...parsed.extra },
      parsed,
    );
    return { embeddings: toEmbeddings(answer), usage: tokenCountsOf(answer) };
  }

  /** Documents by relevance to the query, best first; needs a reranking model. `index` is the place in `documents`. */
  async rerank(
    query: string,
    documents: readonly string[],
    options?: RerankOptions,
  ): Promise<{ index: number; score: number; document: string }[]> {
    const parsed = parseRerankOptions(options);
    parseArgument('query', promptSchema, query);
    parseArgument('documents', z.array(z.string()).min(1), documents);
    const answer = await this.#call('POST /rerank', { query, documents, top_n: parsed.topN, ...parsed.extra }, parsed);
    return toRanking(answer).map(({ index, score }) => ({ index, score, document: documents[index] ?? '' }));
  }

  /** Token ids of a text. Special tokens are not added unless `extra: { add_special: true }`. */
  async tokenize(text: string, options?: CallOptions): Promise<number[]> {
    const parsed = parseCallOptions(options);
    return toTokens(
      await this.#call(
        'POST /tokenize',
        { content: parseArgument('text', promptSchema, text), ...parsed.extra },
        parsed,
      ),
    );
  }

  /** The text of token ids. */
  async detokenize(tokens: readonly number[], options?: CallOptions): Promise<string> {
    const parsed = parseCallOptions(options);
    return toText(
      await this.#call(
        'POST /detokenize',
        { tokens: parseArgument('tokens', tokensSchema, tokens), ...parsed.extra },
        parsed,
      ),
    );
  }

  async #call(route: string, body: Record<string, unknown>, options: CallOptions): Promise<unknown> {
    const request = this.#request(route, body, false, options);
    return collectAnswer((sink) => this.exchange(request, sink), options.signal);
  }

  #stream(
    route: string,
    body: Record<string, unknown>,
    toPart: (event: Record<string, unknown>) => StreamPart,
    options: CallOptions,
  ): AnswerStream {
    const request = this.#request(route, body, true, options);
    return new AnswerStream((sink) => this.exchange(request, sink), toPart, options.signal);
  }

  #request(route: string, body: Record<string, unknown>, stream: boolean, options: CallOptions): PipelineRequest {
    checkHazards(body);
    const bytes = Buffer.from(JSON.stringify(body));
    const known = engineRoute(route);
    return {
      id: newRequestId(),
      route: known,
      query: '',
      client: clientOf(options.client),
      body: bytes,
      work: workOf(known, body, bytes.length),
      continuation: stream ? planStream(known, body, this.#streamRules(options)) : null,
      stream,
      timeoutMs: shortest(options.timeout ?? null, stream ? this.config.timeouts.total : this.#requestTimeoutMs()),
    };
  }

  #streamRules({ continuation, commit }: CallOptions): StreamRules {
    return { ...continuationRules(this.config, continuation), commit };
  }

  /** Options of a call whose whole answer is waited for: the limit of whole requests applies, although it streams inside. */
  #whole<Options extends CallOptions>(options: Options): Options {
    return { ...options, timeout: shortest(options.timeout ?? null, this.#requestTimeoutMs()) ?? undefined };
  }

  #requestTimeoutMs(): number | null {
    return isProduction(this.config) ? this.config.requestTimeout : null;
  }
}

function shortest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}

/** Nobody has seen anything of a whole answer that broke in the middle, so it is asked for again; once, since it may be the cause. */
async function onceMoreIfInterrupted<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof LlameroError && error.code === 'stream_interrupted') return ask();
    throw error;
  }
}
