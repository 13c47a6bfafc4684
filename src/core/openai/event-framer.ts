import type { Dialect } from './routes.ts';

/** Longest single event; the last one of `/completion` repeats the prompt. */
const MAX_EVENT_BYTES = 16 * 1024 * 1024;
const NEWLINE = 10;
const CARRIAGE_RETURN = 13;
const COLON = 58;

/** What came out of a piece of stream. */
export type Framed =
  /** Whole events, ready to be passed on. */
  | { readonly kind: 'events'; readonly events: Buffer }
  /** Nothing complete yet. */
  | { readonly kind: 'partial' }
  /** The engine reported an error in the stream; `before` are the events ahead of it (may be empty). */
  | { readonly kind: 'error'; readonly before: Buffer; readonly data: string }
  /** This is not a stream of server-sent events. */
  | { readonly kind: 'garbage' };

const PARTIAL: Framed = { kind: 'partial' };
const GARBAGE: Framed = { kind: 'garbage' };
/** An engine writes errors this way (`server-context.cpp`); inside a JSON string the quotes would be escaped. */
const ERROR_MARKERS = ['data: {"error":', 'error: {', 'event: error\n'].map((text) => Buffer.from(text));

/**
 * Cuts a byte stream of server-sent events into runs of whole events, so that nothing half is ever passed on, and
 * remembers how it ended. Almost always a piece is whole and is returned as it came, uncopied and unparsed.
 * Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export class EventFramer {
  #held: Buffer[] = [];
  #heldBytes = 0;
  #last: Buffer | null = null;
  #beforeLast: Buffer | null = null;

  push(piece: Buffer): Framed {
    let bytes = piece;
    if (this.#heldBytes > 0) {
      // Most pieces that complete an event are small; joining at every piece of a huge one would be quadratic.
      if (!endsEvent(piece) && piece.lastIndexOf('\n\n') === -1) return this.#hold(piece);
      bytes = Buffer.concat([...this.#held, piece], this.#heldBytes + piece.length);
      this.#held = [];
      this.#heldBytes = 0;
    }
    const end = endsEvent(bytes) ? bytes.length : lastBoundary(bytes);
    if (end < bytes.length) {
      const rest = bytes.subarray(end);
      if (this.#hold(rest).kind === 'garbage') return GARBAGE;
      if (end === 0) return PARTIAL;
      bytes = bytes.subarray(0, end);
    }
    if (!looksLikeEvents(bytes)) return GARBAGE;
    const error = errorIn(bytes);
    if (error !== null) return error;
    this.#beforeLast = this.#last;
    this.#last = bytes;
    return { kind: 'events', events: bytes };
  }

  /** Whether what came so far is a complete stream of that dialect: its own last event was seen, and nothing half after it. */
  isComplete(dialect: Dialect): boolean {
    if (this.#heldBytes > 0 || this.#last === null) return false;
    const last = this.#last;
    switch (dialect) {
      case 'chat':
      case 'completions':
        return last.lastIndexOf('data: [DONE]') !== -1;
      case 'messages':
        return last.lastIndexOf('event: message_stop') !== -1;
      case 'responses':
        return /event: response\.(completed|incomplete|failed)\r?\n/.test(last.toString('utf8'));
      default:
        return dataOf(lastEvents(last)).some((data) => data['stop'] === true);
    }
  }

  /** The JSON of the last events, latest first: where usage and timings are. Parses; meant to be called once, at the end. */
  finalData(): Record<string, unknown>[] {
    const tail = [this.#beforeLast, this.#last].filter((run) => run !== null).map((run) => lastEvents(run));
    return dataOf(tail.join('')).toReversed();
  }

  #hold(rest: Buffer): Framed {
    this.#held.push(rest);
    this.#heldBytes += rest.length;
    return this.#heldBytes > MAX_EVENT_BYTES ? GARBAGE : PARTIAL;
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

/** Length of the field name by its first byte: data, event or error, id, retry, and the empty name of a comment. */
const FIELD_LENGTHS: ReadonlyMap<number | undefined, number> = new Map([
  [0x64, 4],
  [0x65, 5],
  [0x69, 2],
  [0x72, 5],
  [COLON, 0],
]);

/** Cheap plausibility of a run of whole events: it begins with a field or a comment, and its last data is not cut short. */
function looksLikeEvents(bytes: Buffer): boolean {
  const fieldLength = FIELD_LENGTHS.get(bytes[0]);
  if (fieldLength === undefined || bytes[fieldLength] !== COLON) return false;
  let end = bytes.length - 1;
  while (bytes[end] === NEWLINE || bytes[end] === CARRIAGE_RETURN) end -= 1;
  // JSON ends in a brace, `[DONE]` in a bracket; a comment or another field may end in anything.
  if (bytes[end] === 0x7d || bytes[end] === 0x5d) return true;
  const lineStart = bytes.lastIndexOf(NEWLINE, end) + 1;
  return bytes.toString('latin1', lineStart, lineStart + 5) !== 'data:';
}

function errorIn(bytes: Buffer): Framed | null {
  for (const marker of ERROR_MARKERS) {
    const at = bytes.indexOf(marker);
    if (at === -1 || (at > 0 && bytes[at - 1] !== NEWLINE)) continue;
    const data = /(?:data|error): (\{.*\})/.exec(bytes.toString('utf8', at))?.[1] ?? '{}';
    return { kind: 'error', before: bytes.subarray(0, at), data };
  }
  return null;
}

/** The last few events of a run as text. */
function lastEvents(run: Buffer): string {
  const from = run.lastIndexOf('\n\n', Math.max(0, run.length - 4096));
  return run.toString('utf8', from === -1 ? 0 : from + 2);
}

function dataOf(events: string): Record<string, unknown>[] {
  const found: Record<string, unknown>[] = [];
  for (const line of events.split('\n')) {
    if (!line.startsWith('data: {')) continue;
    try {
      found.push(JSON.parse(line.slice(6)) as Record<string, unknown>);
    } catch {
      // A cut or broken line carries no facts; completeness is judged elsewhere.
    }
  }
  return found;
}
