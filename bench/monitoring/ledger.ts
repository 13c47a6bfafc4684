/** What the callers of a run did and saw: what the metrics have to agree with. */
export class Ledger {
  completed = 0;
  failed = 0;
  cancelled = 0;
  /** Answered 429, and 503 because the queue was full. */
  rateLimited = 0;
  queueFull = 0;
  /** Answered 401, and so in none of the others. */
  withoutKey = 0;
  /** Streams that had begun to answer and came to their end. */
  wholeStreams = 0;
  /** Of those, the ones that another engine went on with; and how often one did. */
  continuedStreams = 0;
  continuations = 0;
  /** Tokens as `usage` told them to the callers. */
  promptTokens = 0;
  completionTokens = 0;

  get requests(): number {
    return this.completed + this.failed + this.cancelled;
  }

  /** Takes the tokens of one answer in. */
  count(usage: { readonly prompt_tokens: number; readonly completion_tokens: number }): void {
    this.promptTokens += usage.prompt_tokens;
    this.completionTokens += usage.completion_tokens;
  }
}
