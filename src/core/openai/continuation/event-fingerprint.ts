import { endOfString, endOfValue } from '../json-scan.ts';
import type { Dialect } from '../routes.ts';

const QUOTE = 0x22;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const ZERO = 0x30;
const NINE = 0x39;
const LETTER_T = 0x74;

/** As FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/, but by words. */
const FNV_START = 0x811c9dc5 | 0;
const FNV_PRIME = 0x01000193;
/** The second sum runs independently, so that 64 bits decide. */
const OTHER_START = 0x2545f491;
const OTHER_PRIME = 0x85ebca6b | 0;

type Meaning = 'aside' | 'id' | 'reference' | 'index' | 'finish' | 'type' | 'progress';

/**
 * What the members of an event mean for its fingerprint. Aside is left what differs between two generations of the same
 * answer: times, ids, what the cache held; and the probabilities, whose last digits depend on how a prompt was batched.
 */
const MEANINGS: readonly (readonly [Meaning, readonly string[]])[] = [
  ['id', ['id', 'call_id']],
  ['reference', ['item_id']],
  ['aside', ['id_slot', 'created', 'created_at', 'completed_at', 'timings', 'usage', 'tokens_cached', 'model']],
  [
    'aside',
    ['system_fingerprint', 'generation_settings', 'prompt', '__verbose', 'logprobs', 'completion_probabilities'],
  ],
  ['progress', ['prompt_progress']],
  ['index', ['index']],
  ['finish', ['finish_reason', 'stop_reason', 'stop']],
  ['type', ['type']],
];
const KEYS: readonly Key[] = MEANINGS.flatMap(([meaning, names]) =>
  names.map((name) => ({ name: Buffer.from(name), meaning })),
);
const MAX_KEY_LENGTH = Math.max(...KEYS.map(({ name }) => name.length));
/** Their places in the list, from 1 on, by length and second letter, in which no two of them agree: one look for most keys. */
const PLACES = placesOfKeys();
/**
 * How nearly every event of a chat begins (`to_json_oaicompat_chat`), in whole words: it is recognised, and its sums are known,
 * so that the tokens of an answer are read from their text on.
 */
const CHAT_HEAD = Buffer.from('{"choices":[{"finish_reason":null,"index":0,"delta":');
const CHAT_HEAD_DEPTH = 3;
const CHAT_HEAD_WORDS = Int32Array.from({ length: CHAT_HEAD.length >> 2 }, (_, index) => wordAt(CHAT_HEAD, 4 * index));
const RESPONSE = Buffer.from('response.');
/** Of the events of `/v1/responses`, those that end a stream. */
const LAST_TYPES = ['completed', 'incomplete', 'failed'].map((type) => Buffer.from(`${type}"`));

interface Key {
  readonly name: Buffer;
  readonly meaning: Meaning;
}

/** Whoever collects the ids of a stream where they are given; `item_id` only refers to one. */
export interface IdCollector {
  /** The id is the string between these two indices. */
  add(json: Buffer, start: number, end: number): void;
}

/**
 * Reads one event so that the same event of another generation of the same answer reads the same: one pass over its bytes,
 * nothing is parsed or kept. Used again for each event; the members tell of the last one.
 * The members of each dialect's events: llama.cpp `tools/server/server-task.cpp`, the `to_json` of partial and final results.
 */
export class EventFingerprint {
  first = 0;
  second = 0;
  /** Index of the choice that it belongs to; -1 when it names none. */
  choice = -1;
  /** Whether it finishes its choice: nothing generated follows. */
  finishes = false;
  /** Whether it tells how far the prompt was read, which happens as often as it takes. */
  isProgress = false;
  /** Up to here the event is in the sums. */
  #counted = 0;
  /** Whether what comes still belongs to the sums. */
  #isCounting = true;
  /** How deep in the JSON the index of a choice is; elsewhere `index` numbers other things. */
  readonly #choiceDepth: number;
  readonly #hasChoices: boolean;
  readonly #isChat: boolean;

  constructor(dialect: Dialect) {
    this.#isChat = dialect === 'chat';
    this.#hasChoices = dialect === 'chat' || dialect === 'completions';
    // {"choices":[{"index":0}]} and {"index":0}
    this.#choiceDepth = this.#hasChoices ? 3 : dialect === 'completion' ? 1 : -1;
  }

  /**
   * @param ids gets the ids of it; null: they are known.
   * @param toTheEnd also reads what follows the choices, where there are any: the id, and whether it is progress. The sums
   * are the same: which of several choices comes first, and so has its id read, differs between engines.
   */
  read(json: Buffer, start: number, end: number, ids: IdCollector | null, toTheEnd: boolean): void {
    this.choice = -1;
    this.finishes = false;
    this.isProgress = false;
    this.first = FNV_START;
    this.second = OTHER_START;
    this.#counted = start;
    this.#isCounting = true;
    const stopsEarly = this.#hasChoices && !toTheEnd;
    const isHeadKnown = this.#isChat && this.#skipChatHead(json, start);
    let depth = isHeadKnown ? CHAT_HEAD_DEPTH : 0;
    let at = this.#counted;
    for (; at < end; at += 1) {
      const byte = json[at] as number;
      if (byte === QUOTE) {
        const open = at + 1;
        for (at = open; json[at] !== QUOTE && at < end; at += 1) if (json[at] === BACKSLASH) at += 1;
        if (json[at + 1] === COLON) at = this.#member(json, open, at, end, depth, ids);
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1;
      else if (byte === CLOSE_BRACE) depth -= 1;
      else if (byte === CLOSE_BRACKET) {
        depth -= 1;
        // Behind the choices stand times, ids and constants, which do not count, whether they are read or not.
        if (depth === 1 && this.#hasChoices && this.#isCounting) {
          this.#count(json, at);
          this.#isCounting = false;
          if (stopsEarly) break;
        }
      }
    }
    this.#count(json, Math.min(at, end));
  }

  /** @returns whether it begins so; then that much counts as read. */
  #skipChatHead(json: Buffer, start: number): boolean {
    for (let index = 0; index < CHAT_HEAD_WORDS.length; index += 1) {
      if (wordAt(json, start + 4 * index) !== CHAT_HEAD_WORDS[index]) return false;
    }
    this.choice = 0;
    this.first = CHAT_HEAD_SUMS.first;
    this.second = CHAT_HEAD_SUMS.second;
    this.#counted = start + CHAT_HEAD.length;
    return true;
  }

  /** Adds all from what was added last up to `end` to the sums, four bytes at a time: multiplying is what takes the time. */
  #count(json: Buffer, end: number): void {
    if (!this.#isCounting) return;
    let { first, second } = this;
    let at = this.#counted;
    for (const last = end - 3; at < last; at += 4) {
      const word = wordAt(json, at);
      first = Math.imul(first ^ word, FNV_PRIME);
      second = Math.imul(second ^ (second >>> 15) ^ word, OTHER_PRIME);
    }
    for (; at < end; at += 1) {
      first = Math.imul(first ^ (json[at] as number), FNV_PRIME);
      second = Math.imul(second ^ (second >>> 15) ^ (json[at] as number), OTHER_PRIME);
    }
    this.first = first;
    this.second = second;
    this.#counted = end;
  }

  /** @returns the index of the last byte of it that needs no look: the colon, or the end of a value that is left aside. */
  #member(json: Buffer, open: number, close: number, end: number, depth: number, ids: IdCollector | null): number {
    const value = close + 2;
    const meaning = meaningOf(json, open, close);
    switch (meaning) {
      case 'id':
      case 'reference': {
        // Token ids are numbers, and count.
        if (json[value] !== QUOTE) break;
        const valueEnd = endOfString(json, value + 1);
        if (meaning === 'id') ids?.add(json, value + 1, valueEnd);
        return this.#leaveOut(json, value, valueEnd + 1);
      }
      case 'progress':
        this.isProgress = true;
        return this.#leaveOut(json, value, endOfValue(json, value, end));
      case 'aside':
        return this.#leaveOut(json, value, endOfValue(json, value, end));
      case 'index':
        if (depth === this.#choiceDepth) this.choice = numberAt(json, value);
        break;
      case 'finish':
        if (json[value] === QUOTE || json[value] === LETTER_T) this.finishes = true;
        break;
      case 'type':
        if (json[value + 1] === RESPONSE[0] && isLastType(json, value + 1)) this.finishes = true;
        break;
      default:
    }
    return close + 1;
  }

  /** @returns the index of the last byte left out. */
  #leaveOut(json: Buffer, start: number, end: number): number {
    this.#count(json, start);
    this.#counted = end;
    return end - 1;
  }
}

/** Of another dialect, which does not look for it. */
const CHAT_HEAD_SUMS = new EventFingerprint('completions');
CHAT_HEAD_SUMS.read(CHAT_HEAD, 0, CHAT_HEAD.length, null, true);

/** Four bytes as one number; behind the end there are zeros. */
function wordAt(json: Buffer, at: number): number {
  return (
    (json[at] as number) |
    ((json[at + 1] as number) << 8) |
    ((json[at + 2] as number) << 16) |
    ((json[at + 3] as number) << 24)
  );
}

function meaningOf(json: Buffer, start: number, end: number): Meaning | null {
  const length = end - start;
  if (length > MAX_KEY_LENGTH) return null;
  const place = PLACES[placeOf(length, json[start + 1] ?? 0)] as number;
  if (place === 0) return null;
  const key = KEYS[place - 1] as Key;
  return isAt(json, key.name, start) ? key.meaning : null;
}

function placeOf(length: number, secondLetter: number): number {
  return (length << 7) | (secondLetter & 0x7f);
}

function placesOfKeys(): Uint8Array {
  const places = new Uint8Array((MAX_KEY_LENGTH + 1) << 7);
  KEYS.forEach(({ name }, index) => {
    places[placeOf(name.length, name[1] ?? 0)] = index + 1;
  });
  return places;
}

function isLastType(json: Buffer, start: number): boolean {
  return LAST_TYPES.some((type) => isAt(json, type, start + RESPONSE.length)) && isAt(json, RESPONSE, start);
}

function isAt(json: Buffer, text: Buffer, start: number): boolean {
  for (let index = 0; index < text.length; index += 1) if (json[start + index] !== text[index]) return false;
  return true;
}

function numberAt(json: Buffer, start: number): number {
  let value = 0;
  for (let at = start; ; at += 1) {
    const digit = json[at] ?? 0;
    if (digit < ZERO || digit > NINE) return value;
    value = value * 10 + digit - ZERO;
  }
}
