const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;
const BLANK = 0x20;
/** Strings longer than this are searched natively for their end; a call costs more than a few bytes looked at here. */
const NATIVE_SEARCH_AFTER = 48;

/** Looks at JSON text byte by byte: no garbage, no recursion, some 1 µs for a kilobyte, a tenth of what parsing costs. */

/**
 * Whether these bytes are one whole object or array: brackets in balance, strings closed, nothing behind. It finds what is
 * cut, and what is no JSON at all; it does not find a missing comma.
 */
export function isWholeJson(json: Buffer, start = 0, end = json.length): boolean {
  const opening = json[start];
  if (opening !== OPEN_BRACE && opening !== OPEN_BRACKET) return false;
  let braces = 0;
  let brackets = 0;
  for (let at = start; at < end; at += 1) {
    const byte = json[at];
    if (byte === QUOTE) {
      at = endOfString(json, at + 1);
      if (at >= end) return false;
    } else if (byte === OPEN_BRACE) braces += 1;
    else if (byte === OPEN_BRACKET) brackets += 1;
    else if (byte === CLOSE_BRACE) braces -= 1;
    else if (byte === CLOSE_BRACKET) brackets -= 1;
    else continue;
    if (braces === 0 && brackets === 0) return isBlank(json, at + 1, end);
    if (braces < 0 || brackets < 0) return false;
  }
  return false;
}

/** Index after the value that starts at `start`, of whole JSON without blanks, as llama-server writes it. */
export function endOfValue(json: Buffer, start: number, end: number): number {
  let depth = 0;
  for (let at = start; at < end; at += 1) {
    const byte = json[at];
    if (byte === QUOTE) {
      at = endOfString(json, at + 1);
      if (depth === 0) return Math.min(at + 1, end);
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      depth += 1;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      // At depth 0 it belongs to what is around a number or a word.
      if (depth === 0) return at;
      depth -= 1;
      if (depth === 0) return at + 1;
    } else if (byte === COMMA && depth === 0) return at;
  }
  return end;
}

/**
 * Whether JSON text nests objects and arrays deeper than `limit`. Reads bytes only, never recurses, and needs no valid
 * JSON: text that is not valid is left for the parser to refuse.
 */
export function isNestedDeeperThan(json: Buffer, limit: number): boolean {
  let depth = 0;
  for (let at = 0; at < json.length; at += 1) {
    const byte = json[at];
    if (byte === QUOTE) {
      at = endOfString(json, at + 1);
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      depth += 1;
      if (depth > limit) return true;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      depth -= 1;
    }
  }
  return false;
}

/** Index of the quote that ends the string whose content starts at `start`; the end of the text if there is none. */
export function endOfString(json: Buffer, start: number): number {
  const near = Math.min(json.length, start + NATIVE_SEARCH_AFTER);
  let at = start;
  while (at < near) {
    const byte = json[at];
    if (byte === QUOTE) return at;
    at += byte === BACKSLASH ? 2 : 1;
  }
  return endOfLongString(json, at);
}

function endOfLongString(json: Buffer, start: number): number {
  let from = start;
  for (;;) {
    const quote = json.indexOf(QUOTE, from);
    if (quote === -1) return json.length;
    let backslashes = 0;
    while (quote - 1 - backslashes >= from && json[quote - 1 - backslashes] === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return quote;
    from = quote + 1;
  }
}

function isBlank(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) if ((bytes[at] ?? 0) > BLANK) return false;
  return true;
}
