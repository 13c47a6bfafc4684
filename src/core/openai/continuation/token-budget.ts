type Fields = Readonly<Record<string, unknown>>;

/** How far a stream has come, as its journal tells. */
interface Progress {
  /** Tokens up to the last one whose text the client has. */
  readonly shownTokens: number;
  /** Tokens with those whose text is held back. */
  readonly seenTokens: number;
  /** The last event carried timings, which it does where a stop string was found. */
  readonly hasStopMark: boolean;
}

/** What is left of an answer. */
export interface TokenBudget {
  /** Most tokens of the whole answer; null: as many as the context holds. */
  readonly asked: number | null;
  /** `n_predict` as the original request had it; -1: none. */
  readonly setting: number;
  /** Tokens of the answer that will not be generated again. */
  readonly generated: number;
  /**
   * What ended the answer, where only its formal end is missing: its `limit`, or a `word` to stop at. The engine is asked the
   * original request for a single token, since it generates one even for `n_predict: 0`; that one is thrown away, its end kept.
   */
  readonly end: 'limit' | 'word' | null;
  /** What the continuing engine is told as `n_predict`; null: nothing. */
  readonly nPredict: number | null;
}

/** @param fields of the original request. */
export function tokenBudget(fields: Fields, { shownTokens, seenTokens, hasStopMark }: Progress): TokenBudget {
  const setting = limitIn(fields);
  // It generates one token at least.
  const asked = setting < 0 ? null : Math.max(1, setting);
  // Where each event was asked to have timings they mark nothing.
  if (hasStopMark && fields['timings_per_token'] !== true) {
    return { asked, setting, generated: seenTokens, end: 'word', nPredict: 1 };
  }
  if (asked === null) return { asked, setting, generated: shownTokens, end: null, nPredict: null };
  const left = asked - shownTokens;
  return { asked, setting, generated: shownTokens, end: left <= 0 ? 'limit' : null, nPredict: Math.max(1, left) };
}

/** The strings to stop at. */
export function stopStrings({ stop }: Fields): string[] {
  const given: unknown[] = Array.isArray(stop) ? stop : [stop];
  return given.filter((word) => typeof word === 'string' && word !== '') as string[];
}

/** In the order in which llama-server looks for it (`tools/server/server-schema.cpp`). */
function limitIn(fields: Fields): number {
  const value = ['n_predict', 'max_completion_tokens', 'max_tokens']
    .map((name) => fields[name])
    .find((given) => typeof given === 'number');
  return typeof value === 'number' && value >= 0 ? Math.floor(value) : -1;
}
