import { LlameroError } from '../errors.ts';
import type { TokenCounts } from '../events.ts';
import { tokenCountsOf } from '../openai/usage.ts';
import type { ToolCall } from './tool-calls.ts';

/** Why an answer ended: `stop`, `length`, `tool_calls`, or what else the engine says. */
export type FinishReason = string;

/** llama-server's measurements of one answer; times in ms. */
export interface Timings {
  /** Prompt tokens that were read (without those found in the cache), and how long that took: prefill. */
  readonly promptTokens: number;
  readonly promptMs: number;
  /** Tokens that were generated, and how long that took: decode. */
  readonly completionTokens: number;
  readonly completionMs: number;
  readonly completionTokensPerSecond: number;
}

/** A whole answer. */
export interface Generation {
  readonly text: string;
  readonly finishReason: FinishReason;
  readonly usage: TokenCounts;
  readonly timings: Timings | null;
}

/** A whole answer of a chat. */
export interface ChatAnswer extends Generation {
  /** The assistant's message as the engine gave it: content, tool_calls, reasoning_content. */
  readonly message: Record<string, unknown>;
  readonly toolCalls: readonly ToolCall[];
}

/** One piece of a streamed answer. The last one has a `finishReason`, usage and timings, and usually no text. */
export interface StreamPart {
  readonly text: string;
  /** Text of the model's reasoning, where the model has such and the engine tells it apart. */
  readonly reasoning?: string;
  readonly finishReason: FinishReason | null;
  readonly usage: TokenCounts | null;
  readonly timings: Timings | null;
  /** The event as the engine sent it, for fields that are not read here. */
  readonly raw: Record<string, unknown>;
}

type Json = Record<string, unknown>;

/** One event of a `/completion` stream. */
export function toCompletionPart(event: Json): StreamPart {
  const last = event['stop'] === true;
  return {
    text: typeof event['content'] === 'string' ? event['content'] : '',
    finishReason: last ? stopType(event) : null,
    usage: last ? tokenCountsOf(event) : null,
    timings: last ? timingsOf(event) : null,
    raw: event,
  };
}

/** One event of a `/v1/chat/completions` stream. */
export function toChatPart(event: Json): StreamPart {
  const { content, reasoning_content: reasoning } = deltaOf(event);
  const finishReason = choiceOf(event)['finish_reason'];
  return {
    text: typeof content === 'string' ? content : '',
    ...(typeof reasoning === 'string' ? { reasoning } : {}),
    finishReason: typeof finishReason === 'string' ? finishReason : null,
    usage: tokenCountsOf(event),
    timings: timingsOf(event),
    raw: event,
  };
}

function choiceOf(event: Json): Json {
  const choices = event['choices'];
  return (Array.isArray(choices) ? (choices[0] as Json | undefined) : undefined) ?? {};
}

/** What a chat event adds to the message. */
export function deltaOf(event: Json): Json {
  return (choiceOf(event)['delta'] as Json | undefined) ?? {};
}

/** `/v1/embeddings`, in the order of the inputs. */
export function toEmbeddings(answer: unknown): number[][] {
  const rows = list(record(answer)['data'], 'data').map((row) => record(row));
  return rows
    .toSorted((a, b) => Number(a['index']) - Number(b['index']))
    .map((row) => list(row['embedding'], 'embedding') as number[]);
}

/** `/rerank`, best first. */
export function toRanking(answer: unknown): { index: number; score: number }[] {
  return list(record(answer)['results'], 'results')
    .map((row) => record(row))
    .map((row) => ({ index: Number(row['index']), score: Number(row['relevance_score']) }))
    .toSorted((a, b) => b.score - a.score);
}

/** `/tokenize`. */
export function toTokens(answer: unknown): number[] {
  return list(record(answer)['tokens'], 'tokens') as number[];
}

/** `/detokenize`. */
export function toText(answer: unknown): string {
  const text = record(answer)['content'];
  if (typeof text !== 'string') throw incomplete('content');
  return text;
}

function stopType(body: Json): FinishReason {
  return body['stop_type'] === 'limit' ? 'length' : 'stop';
}

function timingsOf(body: Json): Timings | null {
  const timings = body['timings'];
  if (typeof timings !== 'object' || timings === null) return null;
  const fields = timings as Json;
  const read = (key: string): number => (typeof fields[key] === 'number' ? fields[key] : 0);
  return {
    promptTokens: read('prompt_n'),
    promptMs: read('prompt_ms'),
    completionTokens: read('predicted_n'),
    completionMs: read('predicted_ms'),
    completionTokensPerSecond: read('predicted_per_second'),
  };
}

function record(value: unknown): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw incomplete('an object');
}

function list(value: unknown, name: string): unknown[] {
  if (Array.isArray(value)) return value;
  throw incomplete(name);
}

function incomplete(what: string): LlameroError {
  return new LlameroError('engine_bad_response', `The answer of the engine lacks ${what}.`);
}
