import type { Dialect } from './routes.ts';

/** Longest single event; the last one of `/completion` repeats the prompt. */
const MAX_EVENT_BYTES = 16 * 1024 * 1024;
const NEWLINE = 10;
const CARRIAGE_RETURN = 13;
const DONE = '[DONE]';

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
 * their data are JSON, and remembers how the stream ended. Almost always a piece is one whole event and is returned as it
 * came, uncopied. The check costs about 2 µs for an event of one token.
 * Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export class EventFramer {
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** The last two data, the closing `[DONE]` aside: where usage and timings are. */
  #last: EventData | null = null;
  #beforeLast: EventData | null = null;
  #done = false;

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
    switch (dialect) {
      case 'chat':
      case 'completions':
        return this.#done;
      case 'messages':
        return this.#last?.['type'] === 'message_stop';
      case 'responses':
        return /^response\.(completed|incomplete|failed)$/.test(String(this.#last?.['type']));
      default:
        return this.#last?.['stop'] === true;
    }
  }

  /** The data of the last events, latest first. */
  finalData(): EventData[] {
    return [this.#last, this.#beforeLast].filter((data) => data !== null);
  }

  #hold(rest: Buffer): Framed {
    this.#held.push(rest);
    this.#heldBytes += rest.length;
    return this.#heldBytes > MAX_EVENT_BYTES ? GARBAGE : PARTIAL;
  }

  /** Reads a run of whole events line by line; stops at the first that is an error or no event. */
  #check(bytes: Buffer): Framed {
    const text = bytes.toString('utf8');
    let eventStart = 0;
    for (let at = 0; at < text.length;) {
      const lineEnd = text.indexOf('\n', at);
      const line =
        text.charCodeAt(lineEnd - 1) === CARRIAGE_RETURN ? text.slice(at, lineEnd - 1) : text.slice(at, lineEnd);
      at = lineEnd + 1;
      if (line === '') {
        eventStart = at;
        continue;
      }
      const reading = this.#readLine(line);
      if (reading === null) continue;
      const before = bytes.subarray(0, Buffer.byteLength(text.slice(0, eventStart)));
      return reading === 'garbage' ? { kind: 'garbage', before } : { kind: 'error', before, error: reading.error };
    }
    return { kind: 'events', events: bytes };
  }

  /** @returns null when the line is in order. */
  #readLine(line: string): null | 'garbage' | { error: unknown } {
    if (!line.startsWith('data:')) return /^(event|id|retry|):/.test(line) ? null : errorField(line);
    const payload = line.charCodeAt(5) === 32 ? line.slice(6) : line.slice(5);
    if (payload === DONE) {
      this.#done = true;
      return null;
    }
    const data = parse(payload);
    if (data === null) return 'garbage';
    // llama-server's own form, and that of Anthropic's dialect, whose event also has `type: "error"`.
    if ('error' in data && data['error'] !== null) return { error: data['error'] };
    this.#beforeLast = this.#last;
    this.#last = data;
    return null;
  }
}

/** Builds before 2025 wrote errors into a field of that name instead of data. */
function errorField(line: string): 'garbage' | { error: unknown } {
  return line.startsWith('error:') ? { error: parse(line.slice(6)) } : 'garbage';
}

function parse(payload: string): EventData | null {
  try {
    const data: unknown = JSON.parse(payload);
    return typeof data === 'object' && data !== null ? (data as EventData) : null;
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
