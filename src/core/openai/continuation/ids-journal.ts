import type { StreamJournal } from './continuation.ts';
import { EventWalk } from './event-walk.ts';
import { GrowingBytes, GrowingInts } from './growing-array.ts';
import { endOfDigits, endOfString, numberOf, parsedData, standsAt } from './json-bytes.ts';

/** How `/completion` writes the event of a token (`server_task_result_cmpl_partial` in llama.cpp `tools/server/server-task.cpp`). */
const CONTENT = Buffer.from('data: {"index":0,"content":"');
const TOKENS = Buffer.from('","tokens":[');
const PREDICTED = Buffer.from('],"stop":false,"id_slot":-1,"tokens_predicted":');
const EVALUATED = Buffer.from(',"tokens_evaluated":');
const BACKSLASH = 0x5c;
const END = Buffer.from('}\n\n');
const LETTER_N = 0x6e;
const LETTER_U = 0x75;
const LEAST_MULTIBYTE = 0x80;
const LEAST_LEADING = 0xc0;
const LEAST_LEADING_OF_FOUR = 0xf0;
/** Of longer answers nothing is kept, and they do not go on: 256 KiB a stream. */
const MOST_TOKENS = 65_536;
/** In place of the id of a token that had no event. */
const UNKNOWN = -1;

/**
 * The token ids of a stream of `/completion`, four bytes each.
 *
 * Two things of llama-server matter (`process_token` in `tools/server/server-context.cpp`). A token whose text may be the
 * beginning of a stop string has an event without text, and the text comes with a later one: what was not shown is not built
 * upon, but generated again. A token that ends within a character has no event at all, so that its id is unknown: there
 * the text stands in for the ids.
 */
export class IdsJournal implements StreamJournal {
  events = 0;
  finished = false;
  /** Length of the original prompt as the engine counted it; null before the first token. */
  promptTokens: number | null = null;
  /** Tokens up to the last one whose text the client has. */
  shownTokens = 0;
  /** Length of that text in UTF-16 code units. */
  textLength = 0;
  /** Whether a line break is in it. */
  hasNewLine = false;
  /** Whether the last event carried timings. */
  hasStopMark = false;
  /** Whether it can be continued: nothing in it was strange, and it is not too long. */
  isWhole = true;
  readonly #walk = new EventWalk();
  readonly #ids = new GrowingInts();
  /** Of each stretch whose ids are not all known: its first token, the one after its last, the end of its text below. */
  readonly #gaps = new GrowingInts();
  readonly #gapTexts = new GrowingBytes();
  /** Whether an id behind the shown ones is unknown. */
  #isMissing = false;

  /** Whether all ids are known, so that a continuation is exact. */
  get isExact(): boolean {
    return this.#gaps.length === 0;
  }

  /** Tokens so far, with those whose text was not shown. */
  get seenTokens(): number {
    return this.#ids.length;
  }

  /** Tokens that had an event behind the last one whose text was shown. */
  get hiddenIds(): Int32Array {
    return this.#ids.view(this.shownTokens);
  }

  /** Whether no id of what was shown is known: it is one text. */
  get isTextOnly(): boolean {
    return this.#gaps.length === 3 && this.#gaps.at(0) === 0 && this.#gaps.at(1) === this.shownTokens;
  }

  note(run: Buffer): void {
    // Nearly always the run is one event of a token.
    for (let at = 0; at < run.length;) {
      const end = this.#scan(run, at);
      if (end === -1) {
        this.#walkOn(run.subarray(at));
        return;
      }
      at = end;
    }
  }

  #walkOn(run: Buffer): void {
    const walk = this.#walk;
    for (walk.begin(run); walk.next();) {
      if (!walk.hasData || walk.isDone) continue;
      if (this.#scan(run, walk.start) === -1) this.#parse(run, walk.dataStart, walk.dataEnd);
    }
  }

  /** The shown tokens as members of a JSON array: ids, and strings for what has no ids. */
  asPrompt(): string {
    const parts: string[] = [];
    let from = 0;
    let textStart = 0;
    for (let gap = 0; gap < this.#gaps.length; gap += 3) {
      const textEnd = this.#gaps.at(gap + 2);
      if (this.#gaps.at(gap) > from) parts.push(this.#ids.view(from, this.#gaps.at(gap)).join(','));
      parts.push(`"${this.#gapTexts.view(textStart, textEnd).toString()}"`);
      from = this.#gaps.at(gap + 1);
      textStart = textEnd;
    }
    if (this.shownTokens > from) parts.push(this.#ids.view(from, this.shownTokens).join(','));
    return parts.join(',');
  }

  /**
   * Reads the event of a token where it is written as today's llama-server writes it.
   * @returns the index after it; -1 when it is another.
   */
  #scan(run: Buffer, start: number): number {
    if (!standsAt(run, start, CONTENT)) return -1;
    const textStart = start + CONTENT.length;
    const textEnd = endOfString(run, textStart, run.length);
    if (!standsAt(run, textEnd, TOKENS)) return -1;
    const idStart = textEnd + TOKENS.length;
    const idEnd = endOfDigits(run, idStart);
    if (idEnd === idStart || !standsAt(run, idEnd, PREDICTED)) return -1;
    const countStart = idEnd + PREDICTED.length;
    const countEnd = endOfDigits(run, countStart);
    if (!standsAt(run, countEnd, EVALUATED)) return -1;
    const promptStart = countEnd + EVALUATED.length;
    const promptEnd = endOfDigits(run, promptStart);
    if (!standsAt(run, promptEnd, END)) return -1;
    this.events += 1;
    this.promptTokens ??= numberOf(run, promptStart, promptEnd);
    this.hasStopMark = false;
    this.#take(numberOf(run, idStart, idEnd), numberOf(run, countStart, countEnd), run, textStart, textEnd);
    return promptEnd + END.length;
  }

  #parse(run: Buffer, start: number, end: number): void {
    this.events += 1;
    const event = parsedData(run, start, end);
    if (event === null || (event['index'] ?? 0) !== 0) {
      this.isWhole = false;
      return;
    }
    if (event['stop'] === true) {
      this.finished = true;
      return;
    }
    const { tokens, content, tokens_predicted: position, tokens_evaluated: promptTokens } = event;
    // A notice of llamero's own has no tokens.
    if (!Array.isArray(tokens)) return;
    const id: unknown = tokens[0];
    if (tokens.length !== 1 || typeof id !== 'number' || typeof content !== 'string' || typeof position !== 'number') {
      this.isWhole = false;
      return;
    }
    this.hasStopMark = 'timings' in event;
    if (typeof promptTokens === 'number') this.promptTokens ??= promptTokens;
    const text = Buffer.from(JSON.stringify(content));
    this.#take(id, position, text, 1, text.length - 1);
  }

  /** @param position how many tokens there are with this one. */
  #take(id: number, position: number, bytes: Buffer, textStart: number, textEnd: number): void {
    // The progress of the prompt has an id that means nothing.
    if (position <= 0 || !this.isWhole) return;
    if (position > MOST_TOKENS) {
      this.isWhole = false;
      this.#ids.clear();
      this.#gaps.clear();
      this.#gapTexts.clear();
      return;
    }
    if (position <= this.#ids.length) this.#goBack(position - 1);
    while (this.#ids.length < position - 1) {
      this.#ids.push(UNKNOWN);
      this.#isMissing = true;
    }
    this.#ids.push(id);
    if (textStart === textEnd) return;
    if (this.#isMissing) this.#fillGap(position, bytes, textStart, textEnd);
    this.shownTokens = position;
    this.#measure(bytes, textStart, textEnd);
  }

  #fillGap(end: number, bytes: Buffer, textStart: number, textEnd: number): void {
    this.#gapTexts.append(bytes, textStart, textEnd);
    // Two in a row are one.
    const last = this.#gaps.length - 3;
    const isAdjacent = last >= 0 && this.#gaps.at(last + 1) === this.shownTokens;
    const start = isAdjacent ? this.#gaps.at(last) : this.shownTokens;
    if (isAdjacent) this.#gaps.truncate(last);
    for (const value of [start, end, this.#gapTexts.length]) this.#gaps.push(value);
    this.#isMissing = false;
  }

  /** A continuation chose other tokens where nothing had been shown of the first ones. */
  #goBack(length: number): void {
    if (length < this.shownTokens) this.isWhole = false;
    this.#ids.truncate(length);
    this.#isMissing = this.hiddenIds.includes(UNKNOWN);
  }

  /** Counts the code units that a piece of a JSON string stands for. */
  #measure(bytes: Buffer, start: number, end: number): void {
    let units = 0;
    for (let at = start; at < end; at += 1) {
      const byte = bytes[at] ?? 0;
      if (byte === BACKSLASH) {
        at += 1;
        if (bytes[at] === LETTER_N) this.hasNewLine = true;
        else if (bytes[at] === LETTER_U) at += 4;
        units += 1;
      } else if (byte < LEAST_MULTIBYTE || byte >= LEAST_LEADING) units += byte >= LEAST_LEADING_OF_FOUR ? 2 : 1;
    }
    this.textLength += units;
  }
}
