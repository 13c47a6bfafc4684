import type { Dialect, EngineRoute } from '../routes.ts';
import type { ContinuationWay } from './continuation.ts';
import { stopStrings } from './token-budget.ts';

type Fields = Readonly<Record<string, unknown>>;

/** What decides how a stream can go on. */
export interface StreamFacts {
  readonly route: EngineRoute;
  /** The parsed body. */
  readonly fields: Fields;
  /** `fast`: as soon as may be; `exact`: only so that the answer is the same; `off`: not at all. */
  readonly mode: 'fast' | 'exact' | 'off';
  /** Whether there are images or sound in it. */
  readonly hasMedia: boolean;
  /** Whether the answer can be asked for again from the start. */
  readonly canReplay: boolean;
}

/** How a stream will go on if it must. */
export interface ContinuationPlan {
  /** null: it ends with an error. */
  readonly way: ContinuationWay | null;
  /** The engine must be given a seed, or a replay would be another answer. */
  readonly needsSeed: boolean;
}

/** What llama-server takes for "choose one" (`LLAMA_DEFAULT_SEED`). */
const RANDOM_SEED = 0xffff_ffff;

/** Decides, before a stream begins, how it goes on behind a lost engine. */
export function planContinuation(facts: StreamFacts): ContinuationPlan {
  const { mode, fields, canReplay, route } = facts;
  if (mode === 'off' || !route.canStream) return { way: null, needsSeed: false };
  const best = bestWay(facts);
  const way = best === 'replay' && !canReplay ? null : best;
  // The others go on behind what was sent, however it came about.
  return { way, needsSeed: way === 'replay' && !hasSeed(fields) };
}

function bestWay({ route, fields, mode, hasMedia }: StreamFacts): ContinuationWay {
  if (hasMedia || isConstrained(fields) || hasSeveral(fields)) return 'replay';
  switch (route.path) {
    case '/completion':
      return hasUnusualEvents(fields) ? 'replay' : 'ids';
    case '/v1/completions':
    case '/v1/chat/completions':
      return mode === 'exact' || !canContinueText(route.dialect, fields) ? 'replay' : 'text';
    default:
      return 'replay';
  }
}

/** Whether a grammar, a schema or tools shape the answer: their state cannot be entered midway. */
export function isConstrained(fields: Fields): boolean {
  const { response_format: format, tools, tool_choice: choice, grammar, json_schema: schema } = fields;
  const isPlainFormat = isAbsent(format) || (typeof format === 'object' && 'type' in format && format.type === 'text');
  return (
    !isPlainFormat ||
    !isAbsent(schema) ||
    !(isAbsent(grammar) || grammar === '') ||
    !(isAbsent(tools) || (Array.isArray(tools) && tools.length === 0)) ||
    !(isAbsent(choice) || choice === 'auto' || choice === 'none') ||
    !isAbsent(fields['functions'])
  );
}

/** Whether there will be more than one answer in the stream. */
export function hasSeveral(fields: Fields): boolean {
  const several = ['n', 'n_cmpl', 'best_of'].some((name) => Number(fields[name] ?? 1) > 1);
  const { prompt } = fields;
  // An array that holds a number is one prompt, of token ids.
  return several || (Array.isArray(prompt) && prompt.length > 1 && !prompt.some((part) => typeof part === 'number'));
}

/** Whether the request can be put so that the engine goes on behind text. */
export function canContinueText(dialect: Dialect, fields: Fields): boolean {
  if (wantsProbabilities(fields) || fields['echo'] === true || hidesStop(fields)) return false;
  if (dialect === 'completions') return typeof fields['prompt'] === 'string';
  const { messages } = fields;
  if (!Array.isArray(messages) || messages.length === 0) return false;
  const last: unknown = messages.at(-1);
  const isPrefilled = typeof last !== 'object' || last === null || !('role' in last) || last.role === 'assistant';
  const isOwnPrompt = isAbsent(fields['continue_final_message']) && fields['add_generation_prompt'] !== false;
  return !isPrefilled && isOwnPrompt;
}

/** Whether the events of `/completion` are other than the journal of ids and its splicer know. */
function hasUnusualEvents(fields: Fields): boolean {
  const { prompt, response_fields: chosen } = fields;
  const isText = typeof prompt === 'string' || Array.isArray(prompt);
  return !isText || hidesStop(fields) || (Array.isArray(chosen) && chosen.length > 0);
}

/** Whether it cannot be told from an event that a stop string was found: otherwise that one alone has timings. */
function hidesStop(fields: Fields): boolean {
  return fields['timings_per_token'] === true && stopStrings(fields).length > 0;
}

function wantsProbabilities(fields: Fields): boolean {
  const { logprobs, n_probs: count } = fields;
  return !(isAbsent(logprobs) || logprobs === false || logprobs === 0) || Number(count ?? 0) > 0;
}

function hasSeed(fields: Fields): boolean {
  const { seed } = fields;
  return typeof seed === 'number' && seed >= 0 && seed !== RANDOM_SEED;
}

function isAbsent(value: unknown): value is null | undefined {
  return value === undefined || value === null;
}
