/** Server-sent events that carry the place behind them as their `id`. Pure. */

const NEWLINE = 10;
const CARRIAGE_RETURN = 13;
const COLON = 58;

/** The events of a run of whole ones, each with the blank line behind it. */
export function splitEvents(run: Buffer): Buffer[] {
  const events: Buffer[] = [];
  let start = 0;
  let lineStart = 0;
  for (let at = run.indexOf(NEWLINE); at !== -1; at = run.indexOf(NEWLINE, at + 1)) {
    const isBlank = at === lineStart || (at === lineStart + 1 && run[lineStart] === CARRIAGE_RETURN);
    lineStart = at + 1;
    if (!isBlank) continue;
    events.push(run.subarray(start, at + 1));
    start = at + 1;
  }
  if (start < run.length) events.push(run.subarray(start));
  return events;
}

/**
 * The event with a last line `id: STREAM:OFFSET`, where the offset is that of the byte behind the event, this line included. It is the
 * last line because some clients take an id as soon as its line is there: what came before it is whole then. Comments have none.
 * @param start offset of the first byte of the event.
 */
export function withEventId(event: Buffer, streamId: string, start: number): Buffer {
  if (event[0] === COLON) return event;
  const blank = event[event.length - 2] === CARRIAGE_RETURN ? 2 : 1;
  const head = `id: ${streamId}:`;
  const fixed = start + event.length + head.length + 1;
  let end = fixed + String(fixed).length;
  // The digits of the offset count themselves; there may be one more of them for it.
  if (String(end).length > String(fixed).length) end += 1;
  const line = Buffer.from(`${head}${end}\n`, 'latin1');
  return Buffer.concat([event.subarray(0, event.length - blank), line, event.subarray(event.length - blank)]);
}
