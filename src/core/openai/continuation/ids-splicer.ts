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
  readonly #shown: number;
  readonly #textLength: number;
  readonly #hadNewLine: boolean;
  /** Ids that the client has seen without their text; those that come again are left out. */
  readonly #hidden: readonly number[];
  /** Until it goes another way: from there on nothing is a repetition any more. */
  #repeats = true;

  constructor(journal: IdsJournal, budget: TokenBudget, cachedTokens: number) {
    this.#budget = budget;
    this.#cachedTokens = cachedTokens;
    this.#promptTokens = journal.promptTokens;
    this.#shown = journal.shownTokens;
    this.#textLength = journal.textLength;
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
      promptTokens: this.#promptTokens ?? part.promptTokens - this.#shown,
      completionTokens: this.#total(part.completionTokens),
      cachedTokens: this.#cachedTokens,
    };
  }

  /** Tokens of the whole, of which the new engine generated `part`. */
  #total(part: number): number {
    return this.#budget.isSpent ? this.#shown : this.#shown + part;
  }

  #isLeftOut(data: EventData): boolean {
    const position = data['tokens_predicted'];
    if (this.#budget.isSpent || position === 0) return true;
    const { tokens, content } = data;
    const hidden = typeof position === 'number' ? this.#hidden[position - 1] : undefined;
    const isSame = content === '' && Array.isArray(tokens) && tokens[0] === hidden;
    this.#repeats &&= isSame;
    return this.#repeats;
  }

  #counted(text: string, data: EventData): string {
    const position = data['tokens_predicted'];
    if (typeof position !== 'number') return text;
    const counted = text.replace(/"tokens_predicted":\d+/, `"tokens_predicted":${this.#total(position)}`);
    const evaluated = data['tokens_evaluated'];
    const promptTokens = this.#promptTokens ?? (typeof evaluated === 'number' ? evaluated - this.#shown : 0);
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
    const { prompt, has_new_line: hasNewLine, tokens_cached: held, generation_settings: settings } = data;
    if (typeof prompt === 'string') {
      const original = JSON.stringify(prompt.slice(0, prompt.length - this.#textLength));
      whole = whole.replace(/"prompt":"(?:[^"\\]|\\.)*"/, () => `"prompt":${original}`);
    }
    if (hasNewLine === false && this.#hadNewLine) whole = whole.replace('"has_new_line":false', '"has_new_line":true');
    if (isRecord(settings) && this.#budget.asked !== null) {
      const asked = this.#budget.asked;
      whole = whole.replace(/"(n_predict|max_tokens)":-?\d+/g, (_found, name: string) => `"${name}":${asked}`);
    }
    if (!this.#budget.isSpent) return whole;
    // The token that was asked for to get here does not exist for the client, nor does what it may have ended with.
    if (typeof held === 'number') whole = whole.replace(/"tokens_cached":\d+/, `"tokens_cached":${held - 1}`);
    return whole
      .replace(/"stop_type":"[a-z]*"/, '"stop_type":"limit"')
      .replace(/"stopping_word":"(?:[^"\\]|\\.)*"/, '"stopping_word":""');
  }
}
