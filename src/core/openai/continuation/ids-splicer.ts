import type { TokenCounts } from '../../events.ts';
import type { StreamSplicer } from './continuation.ts';
import { continuedTimings } from './continued-timings.ts';
import { EventWalk } from './event-walk.ts';
import type { IdsJournal } from './ids-journal.ts';
import { isRecord, parsedObject } from './json-bytes.ts';
import type { TokenBudget } from './token-budget.ts';

type EventData = Record<string, unknown>;

/**
 * Makes the events of a continuing `/completion` those of the whole: positions, counts, the final event. Numbers are replaced where
 * they stand, so that everything else keeps its bytes. What looks like a key below is one: within a string its quotes would be escaped.
 */
export class IdsSplicer implements StreamSplicer {
  readonly #walk = new EventWalk();
  readonly #budget: TokenBudget;
  readonly #cachedTokens: number;
  readonly #promptTokens: number | null;
  readonly #stoppingWord: string;
  /** Of what the new engine has behind the original prompt. */
  readonly #textLength: number;
  readonly #hadNewLine: boolean;
  /** Ids that the client has seen without their text; those that come again are left out. */
  readonly #hidden: readonly number[];
  /** Until it goes another way: from there on nothing is a repetition any more. */
  #repeats = true;

  constructor(journal: IdsJournal, budget: TokenBudget, known: { cachedTokens: number; stoppingWord: string }) {
    this.#budget = budget;
    this.#cachedTokens = known.cachedTokens;
    this.#stoppingWord = known.stoppingWord;
    this.#promptTokens = journal.promptTokens;
    this.#textLength = budget.end === null ? journal.textLength : 0;
    this.#hadNewLine = journal.hasNewLine;
    this.#hidden = [...journal.hiddenIds];
  }

  take(run: Buffer): Buffer {
    const walk = this.#walk;
    const kept: Buffer[] = [];
    for (walk.begin(run); walk.next();) {
      const event = run.subarray(walk.start, walk.end);
      if (!walk.hasData) {
        kept.push(event);
        continue;
      }
      const text = event.toString();
      const data = parsedObject(run.toString('utf8', walk.dataStart, walk.dataEnd)) ?? {};
      if (data['stop'] === true) kept.push(Buffer.from(this.#final(text, data)));
      else if (!this.#isLeftOut(data)) kept.push(Buffer.from(this.#counted(text, data)));
    }
    return Buffer.concat(kept);
  }

  usage(part: TokenCounts | null): TokenCounts | null {
    if (part === null) return null;
    return {
      promptTokens: this.#originalPrompt(part.promptTokens),
      completionTokens: this.#total(part.completionTokens),
      cachedTokens: this.#cachedTokens,
    };
  }

  /** Tokens of the whole, of which the new engine generated `part`. */
  #total(part: number): number {
    return this.#budget.end === null ? this.#budget.generated + part : this.#budget.generated;
  }

  /** Tokens of the original prompt; `evaluated` are those of the new one. */
  #originalPrompt(evaluated: number): number {
    return this.#promptTokens ?? (this.#budget.end === null ? evaluated - this.#budget.generated : evaluated);
  }

  #isLeftOut(data: EventData): boolean {
    const position = data['tokens_predicted'];
    if (this.#budget.end !== null || position === 0) return true;
    const { tokens, content } = data;
    const hidden = typeof position === 'number' ? this.#hidden[position - 1] : undefined;
    const isSame = content === '' && Array.isArray(tokens) && tokens[0] === hidden;
    this.#repeats &&= isSame;
    return this.#repeats;
  }

  #counted(text: string, data: EventData): string {
    const { tokens_predicted: position, tokens_evaluated: evaluated } = data;
    if (typeof position !== 'number' || typeof evaluated !== 'number') return text;
    const counted = text.replace(/"tokens_predicted":\d+/, `"tokens_predicted":${this.#total(position)}`);
    const promptTokens = this.#originalPrompt(evaluated);
    const placed = counted.replace(/"tokens_evaluated":\d+/, `"tokens_evaluated":${promptTokens}`);
    const timings = continuedTimings(data['timings'], {
      promptTokens,
      cachedTokens: this.#cachedTokens,
      completionTokens: this.#total(position),
    });
    return timings === null ? placed : placed.replace(/"timings":\{[^{}]*\}/, `"timings":${JSON.stringify(timings)}`);
  }

  #final(text: string, data: EventData): string {
    let whole = this.#counted(text, data);
    const { prompt, has_new_line: hasNewLine, generation_settings: settings } = data;
    if (typeof prompt === 'string') {
      whole = withString(whole, 'prompt', prompt.slice(0, prompt.length - this.#textLength));
    }
    const { end, nPredict, setting } = this.#budget;
    const isBroken = this.#hadNewLine || (end === null && hasNewLine === true);
    whole = whole.replace(/"has_new_line":(true|false)/, `"has_new_line":${isBroken}`);
    if (isRecord(settings) && nPredict !== null) {
      whole = whole.replace(/"(n_predict|max_tokens)":-?\d+/g, (_found, name: string) => `"${name}":${setting}`);
    }
    return end === null ? whole : this.#ended(whole, end, data);
  }

  /** The token that was asked for to get here does not exist for the client, nor does what it may have ended with. */
  #ended(text: string, end: 'limit' | 'word', { tokens_evaluated: evaluated }: EventData): string {
    const held = this.#originalPrompt(typeof evaluated === 'number' ? evaluated : 0) + this.#budget.generated - 1;
    const ended = text
      .replace(/"tokens_cached":\d+/, `"tokens_cached":${held}`)
      .replace(/"stop_type":"[a-z]*"/, `"stop_type":"${end}"`);
    return withString(ended, 'stopping_word', end === 'word' ? this.#stoppingWord : '');
  }
}

/** Replaces the value of a member that is a string. A scan, since a pattern over a prompt of megabytes would exhaust its stack. */
function withString(event: string, name: string, value: string): string {
  const key = `"${name}":`;
  const found = event.indexOf(`${key}"`);
  if (found === -1) return event;
  const start = found + key.length;
  let end = start + 1;
  while (end < event.length && event[end] !== '"') end += event[end] === '\\' ? 2 : 1;
  return event.slice(0, start) + JSON.stringify(value) + event.slice(end + 1);
}
