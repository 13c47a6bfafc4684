import type { TokenCounts } from '../../events.ts';
import type { Dialect, EngineRoute } from '../routes.ts';
import type { Continuation, StreamSplicer } from './continuation.ts';
import { EventWalk } from './event-walk.ts';
import { type ReplayJournal, type SentStream, StreamSums } from './replay-journal.ts';

const CLOSE_BRACE = 0x7d;
const QUOTE = 0x22;
const NOTHING = Buffer.alloc(0);

type Fields = Readonly<Record<string, unknown>>;

/**
 * Goes on by asking for the whole answer again: what was sent is compared and left out.
 * @param originalBody as it went to the first engine, with its seed.
 */
export function replayContinuation(journal: ReplayJournal, originalBody: Buffer): Continuation {
  return { body: originalBody, splicer: new ReplaySplicer(journal.sent()) };
}

/**
 * Whether the same request gives the same answer again, once it has a seed. `/v1/messages` has none: its translation drops
 * the field (`server_chat_convert_anthropic_to_oai` in llama.cpp `tools/server/server-chat.cpp`), so it must be greedy. The
 * events of several choices of `/v1/responses` do not say whose they are.
 */
export function canReplay(route: EngineRoute, fields: Fields): boolean {
  if (!route.canStream) return false;
  if (route.dialect === 'messages') return isGreedy(fields);
  return route.dialect !== 'responses' || !(Number(fields['n_cmpl'] ?? fields['n'] ?? 1) > 1);
}

/** Sets the seed, whatever the body says of it: of a name that comes twice llama-server takes the last. */
export function withSeed(body: Buffer, seed: number): Buffer {
  const end = body.lastIndexOf(CLOSE_BRACE);
  const comma = body.includes(QUOTE) ? ',' : '';
  return Buffer.concat([body.subarray(0, end), Buffer.from(`${comma}"seed":${seed}}`)]);
}

function isGreedy(fields: Fields): boolean {
  const { temperature, top_k: topK } = fields;
  return (typeof temperature === 'number' && temperature <= 0) || topK === 1;
}

class ReplaySplicer implements StreamSplicer {
  readonly #sent: SentStream;
  readonly #sums: StreamSums;
  readonly #walk = new EventWalk();
  /** Choices that have come as far as the first stream was, and were the same. */
  #caughtUp = 0;
  /** Those that were sent at all. */
  readonly #sentChoices: number;
  #differs = false;

  constructor(sent: SentStream) {
    this.#sent = sent;
    this.#sums = new StreamSums(sent.dialect, sent.wantsProgress);
    this.#sentChoices = sent.choices.filter(({ events }) => events > 0).length;
  }

  take(run: Buffer): Buffer | null {
    if (this.#differs) return null;
    const kept: Buffer[] = [];
    const walk = this.#walk;
    for (walk.begin(run); walk.next();) {
      const event = run.subarray(walk.start, walk.end);
      if (!walk.hasData) {
        if (this.#hasCaughtUp) kept.push(event);
        continue;
      }
      const data = run.subarray(walk.dataStart, walk.dataEnd);
      const verdict = walk.isDone ? (this.#sent.isDone ? 'leave-out' : 'pass') : this.#judge(data);
      const isLate = !this.#hasCaughtUp && (walk.isDone || endsDialect(data, this.#sent.dialect));
      if (verdict === 'differs' || isLate) {
        this.#differs = true;
        return null;
      }
      if (verdict === 'pass') kept.push(this.#withFirstIds(event));
    }
    return kept.length === 0 ? NOTHING : Buffer.concat(kept);
  }

  usage(part: TokenCounts | null): TokenCounts | null {
    // It has generated all of it.
    return part;
  }

  get #hasCaughtUp(): boolean {
    return this.#caughtUp >= this.#sentChoices;
  }

  #judge(data: Buffer): 'pass' | 'leave-out' | 'differs' {
    const sum = this.#sums.add(data, 0, data.length);
    // Of the progress the caller has had some, and this is a sign of life; but only ahead of the answer is there a place for it.
    if (sum === null) return this.#sentChoices === 0 ? 'pass' : 'leave-out';
    const sent = this.#sent.choices[this.#sums.lastChoice];
    if (sent === undefined || sum.events > sent.events) return 'pass';
    if (sum.events < sent.events) {
      // The others have an end that is not of a choice.
      const endsTooSoon = this.#sums.fingerprint.finishes && this.#sent.dialect === 'completion';
      return endsTooSoon ? 'differs' : 'leave-out';
    }
    if (sum.first !== sent.first || sum.second !== sent.second) return 'differs';
    this.#caughtUp += 1;
    return 'leave-out';
  }

  /** Every id that the caller knows is called as before. */
  #withFirstIds(event: Buffer): Buffer {
    const ids = this.#sums.ids.list;
    const known = this.#sent.ids;
    let text: string | null = null;
    for (let index = 0; index < ids.length && index < known.length; index += 1) {
      const id = ids[index] as Buffer;
      const first = known[index] as Buffer;
      if (id.equals(first) || !event.includes(id)) continue;
      // Quotes within a text are escaped, so that this is a whole value.
      text = (text ?? event.toString('latin1')).replaceAll(
        `"${id.toString('latin1')}"`,
        () => `"${first.toString('latin1')}"`,
      );
    }
    return text === null ? event : Buffer.from(text, 'latin1');
  }
}

/** Whether nothing follows this event in a dialect without `[DONE]`. */
function endsDialect(data: Buffer, dialect: Dialect): boolean {
  switch (dialect) {
    case 'messages':
      return data.includes('"type":"message_stop"');
    case 'responses':
      return /^\{"type":"response\.(completed|incomplete|failed)"/.test(data.toString('latin1', 0, 64));
    default:
      return false;
  }
}
