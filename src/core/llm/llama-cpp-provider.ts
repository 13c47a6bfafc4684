import { z } from 'zod';
import type { Client } from '../admission/client.ts';
import { clientOf } from '../admission/client-options.ts';
import { type Config, type ConfigInput, isProduction, parseConfig } from '../config.ts';
import { AttachedEngine } from '../engine/attached-engine.ts';
import type { EngineEndpoint, EngineStatus, Replacement } from '../engine/engine-endpoint.ts';
import type { EngineSettings } from '../engine/engine-settings.ts';
import { SupervisedEngine } from '../engine/supervised-engine.ts';
import { LlameroError } from '../errors.ts';
import { type EngineMemoryReading, LlameroEmitter, type LlameroEvents, type TokenCounts } from '../events.ts';
import type { Exchange, PipelineRequest, RequestTracing, ResponseSink } from '../exchange.ts';
import { checkHazards } from '../openai/engine-hazards.ts';
import { continuationRules, planStream, type StreamRules } from '../openai/continuation/plan-stream.ts';
import { workOf } from '../openai/request-work.ts';
import { engineRoute } from '../openai/routes.ts';
import { tokenCountsOf } from '../openai/usage.ts';
import type { RateLimitState } from '../admission/rate-limit-policy.ts';
import { Pipeline, type PipelineStatus } from '../pipeline.ts';
import { AnswerStream } from './answer-stream.ts';
import { AuditedSink } from './audited-sink.ts';
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
import type { PreparationProgress, PreparedEngine } from './prepare-launch.ts';
import { type ProviderMetrics, RequestCounters } from './request-counters.ts';
import { newRequestId } from '../request-id.ts';

/** What the provider is doing, for display. */
export interface ProviderStatus extends EngineStatus, PipelineStatus {
  /** Name of the model, as far as it is known. */
  readonly model: string | null;
  /** The llama-server in use; null before it was found and for an attached one. */
  readonly engine: PreparedEngine['binary'] | null;
  /** Memory of the present engine as it was last looked at; null where it is not known: see the event `engine-memory`. */
  readonly memory: EngineMemoryReading | null;
}

/** What {@link LlamaCppProvider.getModelInfo} tells. */
export interface ModelInfo {
  readonly model: string | null;
  /** Tokens per slot; null until the engine was ready once. */
  readonly contextLength: number | null;
  readonly slots: number | null;
  /** Requests in flight. */
  readonly processCount: number;
  readonly state: EngineStatus['state'];
}

/** Makes the requests of a provider parts of traces: `requestTracing()` of `llamero/tracing`. */
export interface ProviderTracing extends RequestTracing {
  /** Called once, before the first request; hears of `settled`, and so of the end of each. */
  observe(events: LlameroEmitter): void;
}

/** What {@link LlamaCppProvider.restartEngine} may change; what is left out stays as it is. */
export interface RestartOptions {
  /** Another model: a path, an https address or `user/repo[:quant]`. */
  readonly model?: string;
  /** Other settings of the engine, over the present ones. */
  readonly engine?: ConfigInput['engine'];
  /** How long requests may go on at the old engine, in ms; default `engine.drainTimeout`. */
  readonly drainMs?: number;
}

/** Beyond the configuration: what only a program can pass. */
export interface ProviderHooks {
  /** Progress of installing llama-server and of downloading a model. */
  readonly onProgress?: (progress: PreparationProgress) => void;
  /** Environment for the search of llama-server and models, and of the engine. Default `process.env`. */
  readonly env?: NodeJS.ProcessEnv;
  /** Default: no traces; the `traceparent` of a caller then goes to the engine as it came. */
  readonly tracing?: ProviderTracing | null;
}

const promptSchema = z.string();
const messagesSchema = z.array(z.looseObject({ role: z.string() })).min(1);
const embedSchema = z.union([z.string(), z.array(z.string()).min(1)]);
const tokensSchema = z.array(z.number().int().min(0));

/**
 * A model served by llama.cpp, as an object. Owns one guarded llama-server, or the connection to one; every call goes
 * through the same pipeline as the gateway's requests.
 *
 * ```ts
 * await using provider = new LlamaCppProvider({ model: './model.gguf' });
 * const { text } = await provider.generate('Hello', { maxTokens: 64 });
 * ```
 */
export class LlamaCppProvider {
  /** Everything observable; see {@link LlameroEvents}. */
  readonly events = new LlameroEmitter();
  /** What it runs by; model and engine are those of the latest start that was asked for and succeeded. */
  config: Config;
  readonly #hooks: ProviderHooks;
  readonly #engine: EngineEndpoint;
  readonly #pipeline: Pipeline;
  readonly #counters = new RequestCounters();
  #prepared: PreparedEngine | null = null;
  #memory: EngineMemoryReading | null = null;
  #stopped: Promise<void> | null = null;

  /**
   * @param options the configuration; see `config.ts` for keys and defaults. Nothing is started yet.
   * @throws LlameroError `invalid_options` that names the key.
   */
  constructor(options: ConfigInput, hooks: ProviderHooks = {}) {
    this.config = parseConfig(options, 'options');
    this.#hooks = hooks;
    const { model, engineUrl } = this.config;
    if (engineUrl !== null) {
      this.#engine = new AttachedEngine({
        url: engineUrl,
        apiKey: this.#env['LLAMERO_ENGINE_API_KEY'],
        connectTimeoutMs: this.config.timeouts.connect,
        events: this.events,
      });
    } else if (model === null) {
      throw new LlameroError('invalid_options', 'model: expected a path, an https address or user/repo, came nothing', {
        param: 'model',
      });
    } else {
      const settings = this.#engineSettings(model, this.config.engine, (prepared) => (this.#prepared = prepared));
      this.#engine = new SupervisedEngine({ ...settings, env: this.#env, events: this.events });
    }
    hooks.tracing?.observe(this.events);
    this.events.on('settled', (request) => this.#counters.settled(request));
    this.events.on('engine-memory', (reading) => (this.#memory = reading));
    this.#pipeline = new Pipeline(this.#engine, this.config, this.events, hooks.tracing);
  }

  /** A provider for a llama-server that somebody else runs. @param url `http://host:port` */
  static connect(
    url: string,
    options: Omit<ConfigInput, 'engineUrl' | 'model'> = {},
    hooks: ProviderHooks = {},
  ): LlamaCppProvider {
    return new LlamaCppProvider({ ...options, engineUrl: url }, hooks);
  }

  /** Starts the engine and waits until it is ready. Optional: the first request does the same. @throws LlameroError `engine_unavailable` with the cause. */
  async start(): Promise<void> {
    this.#assertUsable();
    await this.#engine.start();
  }

  /**
   * Replaces the engine by a fresh one, of the same settings or of others, without losing a request. The new one is ready before
   * the old one stops taking requests, where memory allows; else requests wait meanwhile. Conversations without a running request keep
   * their prompt cache. If the new engine does not start, the old one, or one with the old settings, goes on.
   * Resolves when the new one takes requests; the old one may be finishing some still.
   * @throws LlameroError `invalid_options` that names the key; `engine_unavailable` with the cause: it did not start, or is being
   * replaced already; `invalid_request` for an engine that somebody else runs.
   */
  async restartEngine(options: RestartOptions = {}): Promise<Replacement> {
    this.#assertUsable();
    const { model = this.config.model, engine = {}, drainMs } = options;
    const next = parseConfig({ ...this.config, model, engine: mergedEngine(this.config.engine, engine) }, 'options');
    const isChanged = options.model !== undefined || options.engine !== undefined;
    let prepared = this.#prepared;
    const settings =
      isChanged && model !== null ? this.#engineSettings(model, next.engine, (found) => (prepared = found)) : null;
    const replacement = await this.#pipeline.restartEngine({ cause: 'restart', generation: null, drainMs, settings });
    // What did not work is never shown.
    this.#prepared = prepared;
    if (isChanged) this.config = { ...this.config, model, engine: next.engine };
    return replacement;
  }

  /** Ends running requests and the engine. Resolves when nothing of it is left; idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** The same as {@link stop}, by the name that the requirements report uses. */
  cleanup(): Promise<void> {
    return this.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Resolves when no request is in flight. New ones are still taken. */
  idle(): Promise<void> {
    return this.#pipeline.idle();
  }

  /** Listens to an event; see {@link LlameroEvents}. */
  on<Name extends keyof LlameroEvents>(name: Name, listener: (...payload: LlameroEvents[Name]) => void): this {
    this.events.on(name, listener as never);
    return this;
  }

  /** Stops listening. */
  off<Name extends keyof LlameroEvents>(name: Name, listener: (...payload: LlameroEvents[Name]) => void): this {
    this.events.off(name, listener as never);
    return this;
  }

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

  getModelInfo(): ModelInfo {
    const { model, facts, inFlight, state } = this.status();
    return {
      model,
      contextLength: facts?.contextLength ?? null,
      slots: facts?.slots ?? null,
      processCount: inFlight,
      state,
    };
  }

  /** Engine, model and load at this moment. */
  status(): ProviderStatus {
    const engine = this.#engine.status();
    return {
      ...engine,
      model: engine.facts?.model ?? this.#prepared?.launch.model.name ?? this.config.model,
      ...this.#pipeline.status(),
      engine: this.#prepared?.binary ?? null,
      memory: this.#memory?.generation === engine.generation ? this.#memory : null,
    };
  }

  /** How much has been done since the provider was made, and how fast; see {@link ProviderMetrics}. */
  getMetrics(): ProviderMetrics {
    return this.#counters.metrics(this.#pipeline.status().inFlight);
  }

  /** The entrance of the gateway: one request, relayed into `sink`. Never throws. */
  exchange(request: PipelineRequest, sink: ResponseSink): Exchange {
    if (this.#stopped === null) {
      const audited = request.stream ? new AuditedSink(sink, request, this.events) : sink;
      return this.#pipeline.send(request, audited);
    }
    sink.onError(new LlameroError('engine_unavailable', 'llamero is shutting down.'));
    return { resume: () => undefined, cancel: () => undefined, queuePosition: () => null };
  }

  /** What a client of the gateway has left of its limits, for answers to requests that never came to {@link exchange}. */
  limitsOf(client: Client): RateLimitState {
    return this.#pipeline.limitsOf(client);
  }

  get #env(): NodeJS.ProcessEnv {
    return this.#hooks.env ?? process.env;
  }

  #engineSettings(
    model: string,
    config: Config['engine'],
    onPrepared: (prepared: PreparedEngine) => void,
  ): EngineSettings {
    const prepare = async (signal: AbortSignal) => {
      // Installing and downloading have large dependencies; loaded here, they do not delay whoever listens first.
      const { prepareLaunch } = await import('./prepare-launch.ts');
      const { onProgress } = this.#hooks;
      const prepared = await prepareLaunch({ model, command: config.command, env: this.#env, signal, onProgress });
      onPrepared(prepared);
      return prepared.launch;
    };
    return { config, prepare };
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

  async #stop(): Promise<void> {
    await this.#pipeline.stop(new LlameroError('engine_unavailable', 'The provider is being stopped.'));
    await this.#engine.stop();
    this.events.removeAllListeners();
  }

  #assertUsable(): void {
    if (this.#stopped !== null) throw new LlameroError('engine_unavailable', 'The provider has been stopped.');
  }
}

/** Settings over others; those of `restart` one by one. */
function mergedEngine(engine: Config['engine'], changes: NonNullable<ConfigInput['engine']>): ConfigInput['engine'] {
  return { ...engine, ...changes, restart: { ...engine.restart, ...changes.restart } };
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
