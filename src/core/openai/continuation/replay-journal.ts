import type { Dialect } from '../routes.ts';
import type { StreamJournal } from './continuation.ts';
import { EventFingerprint } from './event-fingerprint.ts';
import { EventWalk } from './event-walk.ts';

/** Ids kept of a stream; tool calls beyond that get other ones in a replayed rest. */
const MAX_IDS = 256;
/** Longer ids are the model's own text, which is the same in a replay. */
const MAX_ID_BYTES = 128;
/** More choices than any engine has slots; those beyond share the last sum. */
const MAX_CHOICES = 1024;

/** How much of one choice was seen, and what it was. */
export interface ChoiceSum {
  events: number;
  first: number;
  second: number;
}

/**
 * What was seen of a stream, choice by choice: those of one request are decoded side by side, and how their events
 * interleave is nobody's promise.
 */
export class StreamSums {
  /** Nearly always one, and made as one: an array that grows makes room for many. */
  readonly choices: ChoiceSum[] = [{ events: 0, first: 0, second: 0 }];
  readonly ids = new StreamIds();
  readonly fingerprint: EventFingerprint;
  /** Events that count: with data, and not of progress. */
  events = 0;
  /** Choices whose finish was seen. */
  finished = 0;
  readonly #namesIds: 'once' | 'often' | 'never';
  readonly #wantsProgress: boolean;
  #lastChoice = 0;

  constructor(dialect: Dialect, wantsProgress: boolean) {
    this.fingerprint = new EventFingerprint(dialect);
    this.#wantsProgress = wantsProgress;
    // In the others no id comes twice.
    this.#namesIds =
      dialect === 'responses' ? 'often' : dialect === 'chat' || dialect === 'completions' ? 'once' : 'never';
  }

  /** Counts one event. @returns the sum of its choice; null when it does not count. */
  add(json: Buffer, start: number, end: number): ChoiceSum | null {
    const { fingerprint, ids } = this;
    const needsIds = this.#namesIds === 'often' || (this.#namesIds === 'once' && ids.list.length === 0);
    fingerprint.read(json, start, end, needsIds ? ids : null, needsIds || this.#wantsProgress);
    if (fingerprint.isProgress) return null;
    // An event without a choice, that of usage, comes with the finish of one.
    if (fingerprint.choice >= 0) this.#lastChoice = Math.min(fingerprint.choice, MAX_CHOICES - 1);
    const sum = this.choice(this.#lastChoice);
    sum.events += 1;
    sum.first = Math.imul(sum.first ^ fingerprint.first, 0x01000193);
    sum.second = Math.imul((sum.second + fingerprint.second) | 0, 0x5bd1e995);
    this.events += 1;
    if (fingerprint.finishes) this.finished += 1;
    return sum;
  }

  /** The choice of the event that was counted last. */
  get lastChoice(): number {
    return this.#lastChoice;
  }

  choice(index: number): ChoiceSum {
    while (this.choices.length <= index) this.choices.push({ events: 0, first: 0, second: 0 });
    return this.choices[index] as ChoiceSum;
  }
}

/** The ids of a stream, in the order in which they were first named. */
export class StreamIds {
  #list: readonly Buffer[] = [];

  get list(): readonly Buffer[] {
    return this.#list;
  }

  add(json: Buffer, start: number, end: number): void {
    if (this.list.length >= MAX_IDS || end - start > MAX_ID_BYTES) return;
    const id = json.subarray(start, end);
    if (this.#list.some((known) => known.equals(id))) return;
    const copy = Buffer.from(id);
    // Most streams name one id, and an array that grows makes room for many.
    this.#list = this.#list.length === 0 ? [copy] : [...this.#list, copy];
  }
}

/** What a replay must know of a stream. */
export interface SentStream {
  readonly dialect: Dialect;
  readonly wantsProgress: boolean;
  readonly choices: readonly Readonly<ChoiceSum>[];
  readonly ids: readonly Buffer[];
  /** Whether the closing `[DONE]` was sent. */
  readonly isDone: boolean;
}

/**
 * Keeps what is needed to recognise the same stream when it comes again: a sum of 64 bits for each choice, its events, and
 * the ids. However long the stream, some hundred bytes; however it is cut into runs, the same.
 */
export class ReplayJournal implements StreamJournal {
  readonly #dialect: Dialect;
  readonly #wantsProgress: boolean;
  readonly #sequences: number;
  readonly #sums: StreamSums;
  readonly #walk = new EventWalk();
  #isDone = false;

  /**
   * @param wantsProgress the caller asked for the progress of the prompt, and gets it.
   * @param sequences how many choices the stream has in all.
   */
  constructor(dialect: Dialect, { wantsProgress = false, sequences = 1 } = {}) {
    this.#dialect = dialect;
    this.#wantsProgress = wantsProgress;
    this.#sequences = sequences;
    this.#sums = new StreamSums(dialect, wantsProgress);
  }

  /** Data events so far; `[DONE]` and those of the progress of the prompt do not count. */
  get events(): number {
    return this.#sums.events;
  }

  get finished(): boolean {
    return this.#sums.finished >= this.#sequences;
  }

  note(events: Buffer): void {
    const walk = this.#walk;
    for (walk.begin(events); walk.next();) {
      if (walk.isDone) this.#isDone = true;
      else if (walk.hasData) this.#sums.add(events, walk.dataStart, walk.dataEnd);
    }
  }

  /** What was sent until now; the journal may go on. */
  sent(): SentStream {
    return {
      dialect: this.#dialect,
      wantsProgress: this.#wantsProgress,
      choices: this.#sums.choices.map((choice) => ({ ...choice })),
      ids: [...this.#sums.ids.list],
      isDone: this.#isDone,
    };
  }
}
