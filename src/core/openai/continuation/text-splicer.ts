import type { TokenCounts } from '../../events.ts';
import type { StreamSplicer } from './continuation.ts';
import { continuedTimings } from './continued-timings.ts';
import { EventWalk } from './event-walk.ts';
import { isRecord, parsedObject } from './json-bytes.ts';
import type { StreamHead, TextDialect, TextJournal } from './text-journal.ts';
import type { TokenBudget } from './token-budget.ts';
import { tokenCountsOf } from '../usage.ts';

type EventData = Record<string, unknown>;

interface Known {
  readonly budget: TokenBudget;
  readonly promptTokens: number | null;
  readonly cachedTokens: number;
}

/** Makes the chunks of a continuing stream those of the first: its id, one role, counts of the whole. */
export class TextSplicer implements StreamSplicer {
  readonly #walk = new EventWalk();
  readonly #dialect: TextDialect;
  readonly #head: StreamHead | null;
  readonly #known: Known;
  readonly #isCountExact: boolean;
  readonly #hasRole: boolean;

  constructor(journal: TextJournal, dialect: TextDialect, known: Known) {
    this.#dialect = dialect;
    this.#head = journal.head;
    this.#known = known;
    this.#isCountExact = journal.isCountExact;
    this.#hasRole = journal.head !== null;
  }

  take(run: Buffer): Buffer {
    const walk = this.#walk;
    const kept: Buffer[] = [];
    for (walk.begin(run); walk.next();) {
      const event = run.subarray(walk.start, walk.end);
      const data =
        walk.hasData && !walk.isDone ? parsedObject(run.toString('utf8', walk.dataStart, walk.dataEnd)) : null;
      if (data === null) kept.push(event);
      else if (!this.#isLeftOut(data)) kept.push(Buffer.from(this.#spliced(event.toString(), data)));
    }
    return Buffer.concat(kept);
  }

  usage(part: TokenCounts | null): TokenCounts | null {
    if (part === null) return null;
    const { budget, promptTokens: known } = this.#known;
    const added = budget.end === null ? budget.generated : 0;
    const promptTokens = known ?? Math.max(0, part.promptTokens - added);
    return { promptTokens, completionTokens: this.#total(part), cachedTokens: this.#known.cachedTokens };
  }

  /**
   * Tokens of the whole answer. Those before the cut were counted by their events. Where some have none, they are as many as
   * the new engine found in their text; elsewhere that would count the tags of reasoning that never was.
   */
  #total(part: TokenCounts): number {
    const { budget, promptTokens } = this.#known;
    const inText = promptTokens === null || this.#isCountExact ? 0 : part.promptTokens - promptTokens;
    const all = Math.max(budget.generated, inText) + part.completionTokens;
    return budget.end === null ? Math.min(budget.asked ?? Infinity, all) : budget.generated;
  }

  #isLeftOut(data: EventData): boolean {
    if ('prompt_progress' in data) return true;
    const choice = choiceOf(data);
    if (choice === null || choice['finish_reason'] !== null) return false;
    if (this.#known.budget.end !== null) return true;
    const { delta } = choice;
    return this.#hasRole && isRecord(delta) && 'role' in delta && (delta['content'] ?? '') === '';
  }

  #spliced(event: string, data: EventData): string {
    const finishes = choiceOf(data) !== null && choiceOf(data)?.['finish_reason'] !== null;
    const counts = tokenCountsOf(data);
    let text = event;
    if (counts !== null || (finishes && this.#known.budget.end !== null))
      text = `data: ${JSON.stringify(this.#counted(data))}\n\n`;
    // Such a key is no part of a string, where its quotes would be escaped.
    if (this.#head?.id != null) text = text.replace(/"id":"[^"]*"/, () => `"id":${JSON.stringify(this.#head?.id)}`);
    if (this.#head?.created != null) text = text.replace(/"created":\d+/, `"created":${this.#head.created}`);
    return text;
  }

  #counted(data: EventData): EventData {
    const counted = { ...data };
    const part = tokenCountsOf(data);
    const tokens = this.usage(part);
    if (tokens !== null && isRecord(data['usage'])) {
      const { promptTokens, completionTokens, cachedTokens } = tokens;
      counted['usage'] = {
        ...data['usage'],
        completion_tokens: completionTokens,
        prompt_tokens: promptTokens,
        total_tokens: promptTokens + completionTokens,
        prompt_tokens_details: { cached_tokens: cachedTokens },
      };
    }
    if (tokens !== null && isRecord(data['timings'])) counted['timings'] = continuedTimings(data['timings'], tokens);
    const choice = choiceOf(data);
    // The token that was asked for to get here does not exist for the client, nor does what it may have ended with.
    const { end } = this.#known.budget;
    if (end !== null && choice !== null) {
      const changed: EventData = { ...choice, finish_reason: end === 'word' ? 'stop' : 'length' };
      if (this.#dialect === 'completions') changed['text'] = '';
      counted['choices'] = [changed];
    }
    return counted;
  }
}

function choiceOf(data: EventData): EventData | null {
  const choices: unknown = data['choices'];
  const choice: unknown = Array.isArray(choices) ? choices[0] : null;
  return isRecord(choice) ? choice : null;
}
