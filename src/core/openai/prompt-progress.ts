import type { Dialect } from './routes.ts';

/** How far the engine has read a prompt (`result_prompt_progress` in llama.cpp `tools/server/server-task.cpp`). */
export interface PromptProgress {
  /** Tokens of the whole prompt. */
  readonly total: number;
  /** Of these, found in the cache. */
  readonly cached: number;
  /** Of these, read so far, cached ones included. */
  readonly processed: number;
}

/** What came out of a run of events before the first token. */
export interface Filtered {
  /** What is left for the caller; may be empty. */
  readonly events: Buffer;
  /** The latest progress, if there was any. */
  readonly progress: PromptProgress | null;
  /** Whether the prompt is done: from here on events need no filter. */
  readonly decoding: boolean;
}

const KEY = Buffer.from('"prompt_progress":');
const COLON = 0x3a;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const NOTHING = Buffer.alloc(0);

/**
 * Takes out of the beginning of a stream what llamero asked for and the caller did not: the progress of the prompt. Once the
 * first token is there the filter is done; it never sees the events of decoding. With progress the engine opens a stream of
 * the dialect of responses early: that is held back until the first token, which it comes with otherwise, so that nothing of
 * an answer has been seen as long as there is none.
 *
 * @param keep The caller asked for the progress as well.
 */
export class ProgressFilter {
  readonly #dialect: Dialect;
  readonly #keep: boolean;
  #opening: Buffer[] = [];
  /** Whether the progress that comes next is part of the opening. */
  #isFirst = true;

  constructor(dialect: Dialect, keep: boolean) {
    this.#dialect = dialect;
    this.#keep = keep;
  }

  /** @param run whole events. */
  take(run: Buffer): Filtered {
    // Nearly all streams without a long prompt: the first token is in the first run.
    const isPlain = !run.includes(KEY) && run[0] !== COLON && !this.#opensResponse(run);
    if (isPlain && this.#opening.length === 0) return { events: run, progress: null, decoding: true };
    const kept: Buffer[] = [];
    let progress: PromptProgress | null = null;
    for (let start = 0; start < run.length;) {
      const end = endOfEvent(run, start);
      const event = run.subarray(start, end);
      if (event.includes(KEY)) {
        const text = event.toString();
        progress = progressIn(text) ?? progress;
        if (this.#keep) kept.push(event);
        else if (this.#dialect === 'responses' && this.#isFirst) this.#opening.push(Buffer.from(withoutProgress(text)));
        this.#isFirst = false;
      } else if (this.#opensResponse(event)) {
        (this.#keep ? kept : this.#opening).push(Buffer.from(event));
      } else if (event[0] !== COLON) {
        return { events: Buffer.concat([...this.#opening, ...kept, run.subarray(start)]), progress, decoding: true };
      }
      start = end;
    }
    return { events: kept.length === 0 ? NOTHING : Buffer.concat(kept), progress, decoding: false };
  }

  #opensResponse(event: Buffer): boolean {
    return this.#dialect === 'responses' && this.#isFirst && event.includes('"response.created"');
  }
}

function progressIn(event: string): PromptProgress | null {
  const found = /"prompt_progress":(\{[^{}]*\})/.exec(event)?.[1];
  if (found === undefined) return null;
  const { total, cache, processed } = JSON.parse(found) as Record<string, unknown>;
  if (typeof total !== 'number') return null;
  return { total, cached: Number(cache ?? 0), processed: Number(processed ?? 0) };
}

function withoutProgress(event: string): string {
  return event.replace(/,"prompt_progress":\{[^{}]*\}|"prompt_progress":\{[^{}]*\},?/, '');
}

/** Index after the blank line that ends the event at `start`. */
function endOfEvent(run: Buffer, start: number): number {
  for (let at = run.indexOf(NEWLINE, start); at !== -1; at = run.indexOf(NEWLINE, at + 1)) {
    if (run[at + 1] === NEWLINE) return at + 2;
    if (run[at + 1] === CARRIAGE_RETURN && run[at + 2] === NEWLINE) return at + 3;
  }
  return run.length;
}
