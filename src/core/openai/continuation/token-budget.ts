type Fields = Readonly<Record<string, unknown>>;

/** What is left of the tokens that a caller asked for. */
export interface TokenBudget {
  /** Most tokens of the whole answer; null: as many as the context holds. */
  readonly asked: number | null;
  /** What the continuing engine is told, or null for nothing; at least 1, since llama-server generates one token even for 0. */
  readonly nPredict: number | null;
  /** Whether nothing is left: only the end of the answer is asked for, and the token that comes with it is thrown away. */
  readonly isSpent: boolean;
}

/** @param generated tokens that the client has. */
export function tokenBudget(fields: Fields, generated: number): TokenBudget {
  const asked = askedTokens(fields);
  if (asked === null) return { asked, nPredict: null, isSpent: false };
  return { asked, nPredict: Math.max(1, asked - generated), isSpent: generated >= asked };
}

/** In the order in which llama-server looks for it (`tools/server/server-schema.cpp`). */
function askedTokens(fields: Fields): number | null {
  const value = ['n_predict', 'max_completion_tokens', 'max_tokens']
    .map((name) => fields[name])
    .find((given) => typeof given === 'number');
  return typeof value !== 'number' || value < 0 ? null : Math.max(1, Math.floor(value));
}
