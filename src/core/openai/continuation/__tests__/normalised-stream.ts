import { EventWalk } from '../event-walk.ts';

/** What differs between two generations of the same answer, or depends on what the cache held. */
const ASIDE = new Set([
  'created',
  'created_at',
  'timings',
  'id_slot',
  'tokens_cached',
  'cached_tokens',
  'cache_read_input_tokens',
  'input_tokens',
  'prompt_tokens_details',
  'logprobs',
  'completion_probabilities',
]);
/** Behind those of all choices. */
const USAGE = Number.MAX_SAFE_INTEGER - 1;
const END = Number.MAX_SAFE_INTEGER;
const IDS = new Set(['id', 'item_id', 'call_id']);

/**
 * The events of a stream as text, without what differs between two generations. Ids are numbered as they first come: a
 * second one in the place of the first is seen. Those of several choices are put in the order of the choices.
 */
export function normalised(stream: Buffer): string[] {
  const ids: unknown[] = [];
  const walk = new EventWalk();
  const events: { choice: number; text: string }[] = [];
  for (walk.begin(stream); walk.next();) {
    const data = stream.toString('utf8', walk.dataStart, walk.dataEnd);
    if (!data.startsWith('{')) {
      events.push({ choice: END, text: data });
      continue;
    }
    const value = JSON.parse(data, (key, member: unknown) => {
      if (ASIDE.has(key)) return undefined;
      if (!IDS.has(key) || typeof member !== 'string') return member;
      if (!ids.includes(member)) ids.push(member);
      return `#${ids.indexOf(member)}`;
    }) as EventData;
    const head = stream.toString('utf8', walk.start, walk.dataStart);
    events.push({ choice: choiceOf(value), text: head + JSON.stringify(value) });
  }
  return events.toSorted((one, other) => one.choice - other.choice).map(({ text }) => text);
}

interface EventData {
  readonly index?: number;
  readonly content?: string;
  readonly choices?: readonly { readonly index: number }[];
}

function choiceOf({ choices, content, index }: EventData): number {
  if (choices !== undefined) return choices[0]?.index ?? USAGE;
  // Without content it counts something else.
  return content === undefined ? 0 : (index ?? 0);
}
