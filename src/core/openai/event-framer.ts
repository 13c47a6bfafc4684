import type { TokenCounts } from '../events.ts';
import { isWholeJson } from './json-scan.ts';
import type { Dialect } from './routes.ts';
import { tokenCountsIn } from './usage.ts';

/** Longest single event: the last one of `/completion` repeats the prompt, which may be 16 MiB as well, beside all else in it. */
const MAX_EVENT_BYTES = 32 * 1024 * 1024;
const NEWLINE = 10;
const CARRIAGE_RETURN = 13;
const SPACE = 32;
const DONE = Buffer.from('[DONE]');
const NO_ERROR = Buffer.from('{"error":null');
/** How an engine begins the data of an error (`server-context.cpp`), and how Anthropic's dialect does. */
const ERRORS = [Buffer.from('{"error":'), Buffer.from('{"type":"error"')];
/** Names of the fields that a stream may have beside data; the empty one is that of comments. */
const OTHER_FIELDS = ['event', 'id', 'retry', ''].map((name) => Buffer.from(`${name}:`));
const DATA = Buffer.from('data:');
const ERROR_FIELD = Buffer.from('error:');

/** What came out of a piece of stream. */
export type Framed =
  /** Whole, valid events, ready to be passed on. */
  | { readonly kind: 'events'; readonly events: Buffer }
  /** Nothing complete yet. */
  | { readonly kind: 'partial' }
  /** The engine reported an error in the stream; `before` are the events ahead of it (may be empty). */
  | { readonly kind: 'error'; readonly before: Buffer; readonly error: unknown }
  /** This is not a stream of server-sent events with JSON in them; `before` is what was valid (may be empty). */
  | { readonly kind: 'garbage'; readonly before: Buffer };

type EventData = Record<string, unknown>;

const NOTHING = Buffer.alloc(0);
const PARTIAL: Framed = { kind: 'partial' };
const GARBAGE: Framed = { kind: 'garbage', before: NOTHING };

/**
 * Cuts a byte stream of server-sent events into runs of whole events, so that nothing half is ever passed on, checks that
 * their data are whole JSON, and remembers how the stream ended. Almost always a piece is one whole event and is returned
 * as it came: uncopied, undecoded and unparsed, since parsing every event would be the largest part of relaying it.
 * Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export class EventFramer {
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** The last two data, the closing `[DONE]` aside: where usage and timings are. */
  #last: Buffer | null = null;
  #beforeLast: Buffer | null = null;
  /** What the first data said of the cost; only Anthropic's dialect names the prompt there, and nowhere else. */
  #firstCounts: TokenCounts | null = null;
  #done = false;
  #dataEvents = 0;

  /** Events with data so far, the closing `[DONE]` aside: nearly one for each token. */
  get dataEvents(): number {
    return this.#dataEvents;
  }

  push(piece: Buffer): Framed {
    let bytes = piece;
    if (this.#heldBytes > 0) {
      // Without a line end it completes nothing; joining at every piece of a huge event would be quadratic.
      if (!piece.includes(NEWLINE)) return this.#hold(piece);
      bytes = Buffer.concat([...this.#held, piece], this.#heldBytes + piece.length);
      this.#held = [];
      this.#heldBytes = 0;
    }
    const end = endsEvent(bytes) ? bytes.length : lastBoundary(bytes);
    if (end < bytes.length) {
      if (this.#hold(bytes.subarray(end)).kind === 'garbage') return GARBAGE;
      if (end === 0) return PARTIAL;
      bytes = bytes.subarray(0, end);
    }
    return this.#check(bytes);
  }

  /** Whether what came so far is a complete stream of that dialect: its own last event was seen, and nothing half after it. */
  isComplete(dialect: Dialect): boolean {
    if (this.#heldBytes > 0) return false;
    if (dialect === 'chat' || dialect === 'completions') return this.#done;
    const [last] = this.finalData();
    switch (dialect) {
      case 'messages':
        return last?.['type'] === 'message_stop';
      case 'responses':
        return /^response\.(completed|incomplete|failed)$/.test(String(last?.['type']));
      default:
        return last?.['stop'] === true;
    }
  }

  /** The data of the last events, latest first. Parses; meant for the end of a stream. */
  finalData(): EventData[] {
    const data = [this.#last, this.#beforeLast].map((last) => (last === null ? null : parse(last)));
    return data.filter((event) => event !== null);
  }

  /** What the engine said that the stream has cost, in its last events; null when it did not. */
  tokenCounts(): TokenCounts | null {
    const counts = (this.#last && tokenCountsIn(this.#last)) ?? (this.#beforeLast && tokenCountsIn(this.#beforeLast));
    if (counts === null || counts.promptTokens > 0 || this.#firstCounts === null) return counts;
    const { promptTokens, cachedTokens } = this.#firstCounts;
    return { ...counts, promptTokens, cachedTokens };
  }

  #hold(rest: Buffer): Framed {
    this.#held.push(rest);
    this.#heldBytes += rest.length;
    return this.#heldBytes > MAX_EVENT_BYTES ? GARBAGE : PARTIAL;
  }

  /** Reads a run of whole events line by line; stops at the first that is an error or no event. */
  #check(bytes: Buffer): Framed {
    let eventStart = 0;
    for (let at = 0; at < bytes.length;) {
      const lineEnd = bytes.indexOf(NEWLINE, at);
      const end = bytes[lineEnd - 1] === CARRIAGE_RETURN ? lineEnd - 1 : lineEnd;
      if (end <= at) {
        eventStart = lineEnd + 1;
      } else if (startsWith(bytes, at, DATA)) {
        const start = bytes[at + DATA.length] === SPACE ? at + DATA.length + 1 : at + DATA.length;
        const problem = this.#takeData(bytes, start, end);
        if (problem === 'garbage') return { kind: 'garbage', before: bytes.subarray(0, eventStart) };
        if (problem === 'error') return errorOf(bytes.subarray(0, eventStart), bytes.subarray(start, end));
      } else if (startsWith(bytes, at, ERROR_FIELD)) {
        // Builds before 2025 wrote errors into a field of that name instead of data.
        return errorOf(bytes.subarray(0, eventStart), bytes.subarray(at + ERROR_FIELD.length, end));
      } else if (!OTHER_FIELDS.some((field) => startsWith(bytes, at, field))) {
        return { kind: 'garbage', before: bytes.subarray(0, eventStart) };
      }
      at = lineEnd + 1;
    }
    return { kind: 'events', events: bytes };
  }

  /** @returns what is wrong with the data, or null. */
  #takeData(bytes: Buffer, start: number, end: number): null | 'garbage' | 'error' {
    if (end - start === DONE.length && startsWith(bytes, start, DONE)) {
      this.#done = true;
      return null;
    }
    if (!isWholeJson(bytes, start, end)) return 'garbage';
    const isError = ERRORS.some((error) => startsWith(bytes, start, error)) && !startsWith(bytes, start, NO_ERROR);
    if (isError) return 'error';
    if (this.#dataEvents === 0) this.#firstCounts = tokenCountsIn(bytes.subarray(start, end));
    this.#dataEvents += 1;
    this.#beforeLast = this.#last;
    this.#last = bytes.subarray(start, end);
    return null;
  }
}

function startsWith(bytes: Buffer, at: number, text: Buffer): boolean {
  for (let index = 0; index < text.length; index += 1) if (bytes[at + index] !== text[index]) return false;
  return true;
}

function errorOf(before: Buffer, data: Buffer): Framed {
  const parsed = parse(data);
  return { kind: 'error', before, error: parsed?.['error'] ?? parsed };
}

function parse(data: Buffer): EventData | null {
  try {
    const value: unknown = JSON.parse(data.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as EventData) : null;
  } catch {
    // The caller judges what is no JSON.
    return null;
  }
}

function endsEvent(bytes: Buffer): boolean {
  const length = bytes.length;
  if (length < 2 || bytes[length - 1] !== NEWLINE) return false;
  return bytes[length - 2] === NEWLINE || (bytes[length - 2] === CARRIAGE_RETURN && bytes[length - 3] === NEWLINE);
}

/** Index after the last blank line; 0 when there is none. */
function lastBoundary(bytes: Buffer): number {
  const plain = bytes.lastIndexOf('\n\n');
  const windows = bytes.lastIndexOf('\r\n\r\n');
  return Math.max(plain === -1 ? 0 : plain + 2, windows === -1 ? 0 : windows + 4);
}
