import type { SlotWaiter } from './admission/fair-place.ts';
import type { FairQueue } from './admission/fair-queue.ts';
import type { RateGrant } from './admission/rate-limit-grant.ts';
import type { TokenCounts } from './events.ts';

/**
 * What one request has cost: charged to its client in the fair queue as it comes, and to its token limits when it ends.
 * Per token this is an addition or two.
 */
export class TokenAccount {
  readonly #queue: FairQueue;
  readonly #waiter: SlotWaiter;
  /** null until the engine told it. */
  #promptTokens: number | null = null;
  #generatedTokens = 0;

  constructor(queue: FairQueue, waiter: SlotWaiter) {
    this.#queue = queue;
    this.#waiter = waiter;
  }

  /** Tokens generated so far, as far as seen. */
  get generatedTokens(): number {
    return this.#generatedTokens;
  }

  /** The engine told how long the prompt is. */
  promptIs(promptTokens: number, cachedTokens: number): void {
    if (this.#promptTokens !== null) return;
    this.#promptTokens = promptTokens;
    this.#queue.chargePrompt(this.#waiter, promptTokens, cachedTokens);
  }

  generated(tokens: number): void {
    this.#generatedTokens += tokens;
    this.#queue.chargeGenerated(this.#waiter, tokens);
  }

  /** The engine told what the whole answer cost; corrects what was counted. */
  usageIs({ promptTokens, cachedTokens, completionTokens }: TokenCounts): void {
    const { slots, promptTokens: guessed } = this.#waiter;
    if (slots === 1 || completionTokens === 0) {
      this.promptIs(promptTokens, cachedTokens);
      this.generated(completionTokens - this.#generatedTokens);
      return;
    }
    // Of several sequences llama-server tells the cost of one. A stream was counted as it came; of others the rest is taken
    // to be as long.
    this.promptIs(Math.max(promptTokens, guessed), cachedTokens);
    if (this.#generatedTokens === 0) this.generated(completionTokens * slots);
  }

  /**
   * The end: an answer that broke off costs what was seen of it, at least its prompt, and a request that was never sent
   * costs nothing.
   * @param cutOff it was ended from here while the engine worked on it.
   */
  settle(grant: RateGrant | null, wasSent: boolean, cutOff: boolean): void {
    if (!wasSent) {
      this.#queue.refund(this.#waiter);
      grant?.refund();
      return;
    }
    const promptTokens = this.#promptTokens ?? (cutOff ? this.#waiter.promptTokens : 0);
    grant?.settle(promptTokens + this.#generatedTokens);
  }
}
