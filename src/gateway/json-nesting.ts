const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** Strings longer than this are searched natively for their end; a call costs more than a few bytes looked at here. */
const NATIVE_SEARCH_AFTER = 48;

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
    } else if (byte === 0x7b || byte === 0x5b) {
      depth += 1;
      if (depth > limit) return true;
    } else if (byte === 0x7d || byte === 0x5d) {
      depth -= 1;
    }
  }
  return false;
}

/** Index of the quote that ends the string whose content starts at `start`; the end of the text if there is none. */
function endOfString(json: Buffer, start: number): number {
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
