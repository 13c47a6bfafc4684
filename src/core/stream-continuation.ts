import type { TokenCounts } from './events.ts';
import type { PipelineRequest } from './exchange.ts';
import type { Continuation, StreamSplicer } from './openai/continuation/continuation.ts';
import type { StreamPlan } from './openai/continuation/plan-stream.ts';
import { idsContinuation } from './openai/continuation/ids-continuation.ts';
import { IdsJournal } from './openai/continuation/ids-journal.ts';
import { replayContinuation } from './openai/continuation/replay.ts';
import { ReplayJournal } from './openai/continuation/replay-journal.ts';
import { formalEnd, textContinuation } from './openai/continuation/text-continuation.ts';
import { type TextDialect, TextJournal } from './openai/continuation/text-journal.ts';

/** How often one stream may go on behind an engine that was lost. */
const MOST_CONTINUATIONS = 3;
const CONTINUED = Buffer.from(': continued\n\n');
/** What llama-server tells of a request that has no seed (`LLAMA_DEFAULT_SEED`). */
const NO_SEED = 0xffff_ffff;
/** The settings with a seed among them take more than twice that; the event of a token takes less. */
const LEAST_SETTINGS_BYTES = 512;

/** How a stream goes on: with another request, or with nothing but its formal end. */
export type NextPart =
  | { readonly kind: 'request'; readonly body: Buffer }
  | { readonly kind: 'end'; readonly events: Buffer };

/**
 * What one stream needs to go on when its engine is lost: the journal of what its client has, and, once it goes on, what makes
 * the stream of the next engine the rest of the first.
 */
export class StreamContinuation {
  readonly #plan: StreamPlan;
  readonly #body: Buffer;
  readonly #journal: IdsJournal | TextJournal | ReplayJournal;
  readonly #dialect: PipelineRequest['route']['dialect'];
  /** How the engine tells the seed that llamero has set; null: it has set none. */
  readonly #seedMember: string | null;
  #promptTokens: number | null = null;
  #cachedTokens = 0;
  #splicer: StreamSplicer | null = null;
  #continuations = 0;
  /** Of those, behind engines that were lost. */
  #losses = 0;
  #isAnnounced = true;

  /**
   * @param body what the first engine gets, without what llamero asks for itself.
   * @param seed the seed in it that the caller knows nothing of; null: there is none.
   */
  constructor(plan: StreamPlan, { route, work }: PipelineRequest, body: Buffer, seed: number | null) {
    this.#plan = plan;
    this.#body = body;
    this.#seedMember = seed === null ? null : `"seed":${seed},`;
    this.#dialect = route.dialect;
    this.#journal = journalOf(plan, route.dialect, work);
  }

  /** How often the stream has gone on. */
  get continuations(): number {
    return this.#continuations;
  }

  /** The first engine told how long the prompt is. */
  promptIs(promptTokens: number, cachedTokens: number): void {
    if (this.#promptTokens !== null) return;
    this.#promptTokens = promptTokens;
    this.#cachedTokens = cachedTokens;
  }

  /**
   * Events of the present engine on their way to the client.
   * @returns what the client gets of them, maybe nothing; null when the new stream is not the rest of the first.
   */
  pass(events: Buffer): Buffer | null {
    const passed = this.#spliced(events);
    return this.#seedMember === null || passed === null ? passed : withoutSeed(passed, this.#seedMember);
  }

  #spliced(events: Buffer): Buffer | null {
    if (this.#splicer === null) {
      this.#journal.note(events);
      return events;
    }
    const spliced = this.#splicer.take(events);
    if (spliced === null || spliced.length === 0) return spliced;
    this.#journal.note(spliced);
    if (this.#isAnnounced) return spliced;
    this.#isAnnounced = true;
    return Buffer.concat([CONTINUED, spliced]);
  }

  /**
   * What is asked of the next engine; null when the stream cannot go on.
   * @param isPlanned the engine was replaced on purpose, which may happen any number of times.
   */
  next(isPlanned: boolean): NextPart | null {
    if (!isPlanned && this.#losses >= MOST_CONTINUATIONS) return null;
    if (this.#journal.finished && this.#journal instanceof TextJournal) {
      return { kind: 'end', events: formalEnd(this.#journal, this.#body, this.#prompt()) };
    }
    const continuation = this.#continuation();
    if (continuation === null) return null;
    this.#continuations += 1;
    if (!isPlanned) this.#losses += 1;
    this.#splicer = continuation.splicer;
    this.#isAnnounced = false;
    return { kind: 'request', body: continuation.body };
  }

  /** Tokens of the whole stream, given what the present engine tells of its part. */
  usage(part: TokenCounts | null): TokenCounts | null {
    return this.#splicer === null ? part : this.#splicer.usage(part);
  }

  #continuation(): Continuation | null {
    const journal = this.#journal;
    if (journal instanceof IdsJournal) {
      const exact = this.#plan.isExact;
      return idsContinuation(journal, this.#body, { exact, cachedTokens: this.#cachedTokens });
    }
    if (journal instanceof TextJournal) {
      return textContinuation(journal, this.#body, this.#dialect as TextDialect, this.#prompt());
    }
    return replayContinuation(journal, this.#body);
  }

  #prompt(): { promptTokens: number | null; cachedTokens: number } {
    return { promptTokens: this.#promptTokens, cachedTokens: this.#cachedTokens };
  }
}

/** Shows the settings as they are without a seed: the caller has set none. In a text the quotes would be escaped. */
function withoutSeed(events: Buffer, member: string): Buffer {
  // Looking into each event would cost as much as all else that is kept of it.
  if (events.length < LEAST_SETTINGS_BYTES || !events.includes(member, 0, 'latin1')) return events;
  return Buffer.from(events.toString('latin1').replaceAll(member, `"seed":${NO_SEED},`), 'latin1');
}

function journalOf(
  { way }: StreamPlan,
  dialect: PipelineRequest['route']['dialect'],
  work: PipelineRequest['work'],
): IdsJournal | TextJournal | ReplayJournal {
  switch (way) {
    case 'ids':
      return new IdsJournal();
    case 'text':
      return new TextJournal(dialect as TextDialect);
    default:
      return new ReplayJournal(dialect, work);
  }
}
