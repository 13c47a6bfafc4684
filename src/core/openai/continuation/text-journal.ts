import type { StreamJournal } from './continuation.ts';
import { EventWalk } from './event-walk.ts';
import { GrowingBytes } from './growing-array.ts';
import { endOfString, isRecord, parsedData, standsAt } from './json-bytes.ts';

const QUOTE = 0x22;
const CLOSE_BRACE = 0x7d;
const NEWLINE = 0x0a;
const LEAST_MULTIBYTE = 0x80;

/** The dialects that can be continued behind their text. */
export type TextDialect = 'chat' | 'completions';

/** How llama-server writes a piece of text (`to_json_oaicompat` and `to_json_oaicompat_chat` in `tools/server/server-task.cpp`). */
const DELTA = Buffer.from('data: {"choices":[{"finish_reason":null,"index":0,"delta":{"');
const CONTENT = Buffer.from('content":"');
const REASONING = Buffer.from('reasoning_content":"');
const END_OF_DELTA = Buffer.from('"}}],');
const TEXT = Buffer.from('data: {"choices":[{"text":"');
const END_OF_TEXT = Buffer.from('","index":0,"logprobs":null,"finish_reason":null}],');

/** Of longer answers nothing is kept, and they do not go on. */
const MOST_BYTES = 256 * 1024;

/** What names a stream in each of its chunks. */
export interface StreamHead {
  readonly id: string | null;
  readonly created: number | null;
  readonly model: string | null;
  readonly fingerprint: string | null;
}

/**
 * The text that a stream of `/v1/completions` or `/v1/chat/completions` has shown, as the bytes of its JSON strings: it is
 * put into the next request as it is, so it is never decoded. llama-server shows neither half characters nor what may be
 * the beginning of a stop string (`process_token` in `tools/server/server-context.cpp`), so it never ends within one.
 */
export class TextJournal implements StreamJournal {
  events = 0;
  finished = false;
  /** Whether the closing `[DONE]` was seen. */
  ended = false;
  /** Whether a chunk with usage was seen. */
  hasUsage = false;
  /** Whether the last event carried timings. */
  hasStopMark = false;
  /** Whether it can be continued: it has text and nothing else, and it is not too long. */
  isPlain = true;
  /** Events up to the last one that showed text: as many tokens, or a few less where characters and tags have several. */
  shownTokens = 0;
  /** Events of tokens, with those whose text was not shown. */
  seenTokens = 0;
  head: StreamHead | null = null;
  readonly text = new GrowingBytes();
  readonly reasoning = new GrowingBytes();
  readonly #dialect: TextDialect;
  readonly #walk = new EventWalk();

  constructor(dialect: TextDialect) {
    this.#dialect = dialect;
  }

  /** Whether the client has seen any text. */
  get isEmpty(): boolean {
    return this.text.length === 0 && this.reasoning.length === 0;
  }

  /**
   * Whether each token had an event with text of its own. A character of several tokens has one, and the tags around
   * reasoning have none.
   */
  get isCountExact(): boolean {
    return this.reasoning.length === 0 && this.text.view().every((byte) => byte < LEAST_MULTIBYTE);
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
      if (walk.isDone) this.ended = true;
      else if (walk.hasData && this.#scan(run, walk.start) === -1) this.#parse(run, walk.dataStart, walk.dataEnd);
    }
  }

  /**
   * Reads the event of a token where it is written as today's llama-server writes it, and is not the first.
   * @returns the index after it; -1 when it is another.
   */
  #scan(run: Buffer, start: number): number {
    if (this.head === null) return -1;
    return this.#dialect === 'chat' ? this.#scanDelta(run, start) : this.#scanText(run, start);
  }

  #scanDelta(run: Buffer, start: number): number {
    if (!standsAt(run, start, DELTA)) return -1;
    const key = start + DELTA.length;
    const isContent = standsAt(run, key, CONTENT);
    if (!isContent && !standsAt(run, key, REASONING)) return -1;
    return this.#scanRest(isContent ? this.text : this.reasoning, run, key + (isContent ? CONTENT : REASONING).length);
  }

  #scanText(run: Buffer, start: number): number {
    return standsAt(run, start, TEXT) ? this.#scanRest(this.text, run, start + TEXT.length) : -1;
  }

  #scanRest(text: GrowingBytes, run: Buffer, textStart: number): number {
    const textEnd = endOfString(run, textStart, run.length);
    if (!standsAt(run, textEnd, this.#dialect === 'chat' ? END_OF_DELTA : END_OF_TEXT)) return -1;
    const lineEnd = run.indexOf(NEWLINE, textEnd);
    // Where the last member is no string there are timings.
    if (run[lineEnd + 1] !== NEWLINE || run[lineEnd - 1] !== CLOSE_BRACE || run[lineEnd - 2] !== QUOTE) return -1;
    this.events += 1;
    this.hasStopMark = false;
    this.#take(text, run, textStart, textEnd);
    return lineEnd + 2;
  }

  #take(text: GrowingBytes, bytes: Buffer, start: number, end: number): void {
    this.seenTokens += 1;
    if (start === end) return;
    this.shownTokens = this.seenTokens;
    if (!this.isPlain) return;
    if (this.text.length + this.reasoning.length + end - start > MOST_BYTES) {
      this.isPlain = false;
      this.text.clear();
      this.reasoning.clear();
    } else text.append(bytes, start, end);
  }

  #parse(run: Buffer, start: number, end: number): void {
    this.events += 1;
    const event = parsedData(run, start, end);
    const choices = event?.['choices'];
    if (event === null || !Array.isArray(choices) || choices.length > 1) {
      this.isPlain = false;
      return;
    }
    this.head ??= headOf(event);
    this.hasStopMark = 'timings' in event;
    if (isRecord(event['usage'])) this.hasUsage = true;
    const choice: unknown = choices[0];
    if (choice === undefined) return;
    if (!isRecord(choice) || choice['index'] !== 0) this.isPlain = false;
    // The progress of the prompt; of chat it looks like the role, which is no token either.
    else if (!('prompt_progress' in event)) this.#parseChoice(choice);
  }

  #parseChoice(choice: Record<string, unknown>): void {
    if (typeof choice['finish_reason'] === 'string') this.finished = true;
    if (this.#dialect === 'completions') {
      if (!this.finished || choice['text'] !== '') this.#takeValue(this.text, choice['text']);
      return;
    }
    const { delta } = choice;
    if (!isRecord(delta)) return;
    for (const [name, value] of Object.entries(delta)) {
      if (value === null || name === 'role') continue;
      if (name === 'content') this.#takeValue(this.text, value);
      else if (name === 'reasoning_content') this.#takeValue(this.reasoning, value);
      else this.isPlain = false;
    }
  }

  #takeValue(text: GrowingBytes, value: unknown): void {
    if (typeof value !== 'string') {
      this.isPlain = false;
      return;
    }
    const json = Buffer.from(JSON.stringify(value));
    this.#take(text, json, 1, json.length - 1);
  }
}

function headOf({ id, created, model, system_fingerprint: fingerprint }: Record<string, unknown>): StreamHead {
  return {
    id: typeof id === 'string' ? id : null,
    created: typeof created === 'number' ? created : null,
    model: typeof model === 'string' ? model : null,
    fingerprint: typeof fingerprint === 'string' ? fingerprint : null,
  };
}
