import { endOfString } from './json-bytes.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COLON = 0x3a;
const BLANK = 0x20;

/** Where the value of a member stands in a body. */
export interface MemberSpan {
  readonly start: number;
  readonly end: number;
}

/**
 * Finds the value of a member of the outermost object, so that it can be extended without rewriting it: of a name that
 * comes twice the last, which is the one that llama-server takes.
 * @param body valid JSON.
 * @returns null when there is none, or a name is written with an escape, so that it cannot be told.
 */
export function memberSpan(body: Buffer, name: string): MemberSpan | null {
  const wanted = Buffer.from(name);
  let found: MemberSpan | null = null;
  let at = body.indexOf(OPEN_BRACE) + 1;
  for (;;) {
    at = body.indexOf(QUOTE, at);
    if (at === -1) return found;
    const keyStart = at + 1;
    const keyEnd = endOfString(body, keyStart, body.length);
    const key = body.subarray(keyStart, keyEnd);
    if (key.includes(BACKSLASH)) return null;
    const start = skipBlanks(body, body.indexOf(COLON, keyEnd) + 1);
    const end = endOfValue(body, start);
    if (key.equals(wanted)) found = { start, end };
    at = end;
  }
}

/** Replaces what stands at the span. */
export function withMember(body: Buffer, { start, end }: MemberSpan, value: Buffer): Buffer {
  return Buffer.concat([body.subarray(0, start), value, body.subarray(end)]);
}

/** Adds members at the end, where they outrank the caller's of the same name. @param members JSON, without braces. */
export function withMembers(body: Buffer, members: readonly string[]): Buffer {
  if (members.length === 0) return body;
  return Buffer.concat([body.subarray(0, body.lastIndexOf(CLOSE_BRACE)), Buffer.from(`,${members.join(',')}}`)]);
}

function skipBlanks(body: Buffer, start: number): number {
  let at = start;
  while (at < body.length && (body[at] ?? 0) <= BLANK) at += 1;
  return at;
}

function endOfValue(body: Buffer, start: number): number {
  let depth = 0;
  for (let at = start; at < body.length; at += 1) {
    const byte = body[at];
    if (byte === QUOTE) at = endOfString(body, at + 1, body.length);
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth -= 1;
    else if (byte !== COMMA) continue;
    if (depth < 0 || (depth === 0 && byte === COMMA)) return trimEnd(body, at);
    if (depth === 0) return at + 1;
  }
  return body.length;
}

function trimEnd(body: Buffer, end: number): number {
  let at = end;
  while ((body[at - 1] ?? 0xff) <= BLANK) at -= 1;
  return at;
}
