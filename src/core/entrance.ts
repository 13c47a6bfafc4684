import type { RateGrant } from './admission/rate-limit-grant.ts';
import { bindingWindow } from './admission/rate-limit-headers.ts';
import type { RateLimitedRequest } from './admission/rate-limits.ts';
import { LlameroError } from './errors.ts';
import type { ExchangeContext } from './exchange-context.ts';
import type { PipelineRequest } from './exchange.ts';
import { countPromptTokens } from './prompt-size.ts';

/** What a request has been allowed, before it stands in the queue. */
export interface Entry {
  /** What was taken from the limits of its client; null where none applies. */
  readonly grant: RateGrant | null;
  /** Tokens of the prompt: counted, or guessed. */
  readonly promptTokens: number;
  /** The engine may generate no more than this, because the client's tokens are used up then; null: no such limit. */
  readonly tokenCap: number | null;
}

/** For what answers at once. */
const NEVER = new AbortController().signal;

/** Whether a request has to be looked at before it may queue; all others skip {@link enter}, which takes a promise or two. */
export function needsEntrance(context: ExchangeContext, request: PipelineRequest): boolean {
  return context.limits.needsCheck(request.client) || mayExceedContext(context, request);
}

/**
 * The limits of the client, then whether the prompt fits a slot; both before the request costs anybody anything.
 * @param signal called only where there is something to wait for.
 * @throws LlameroError `rate_limit_exceeded`, `context_length_exceeded`, or the reason of the signal. Then nothing was taken.
 */
export async function enter(
  context: ExchangeContext,
  request: PipelineRequest,
  signal: () => AbortSignal,
): Promise<Entry> {
  const { limits } = context;
  const size = sizeOf(context, request);
  const admit = (asked: RateLimitedRequest) => limits.admit(asked, limits.mayWait ? signal() : NEVER);
  let grant = limits.needsCheck(request.client) ? await admit(size) : null;
  try {
    const isTight = grant !== null && isBudgetTight(grant, size, request);
    const counted =
      isTight || mayExceedContext(context, request) ? await countOrNull(context, request, signal()) : null;
    const promptTokens = counted ?? size.promptTokens;
    if (counted !== null) refuseTooLong(context, counted);
    if (grant !== null && counted !== null && counted >= (grant.tokenBudget ?? Infinity)) {
      // The guess was too low. It is given back first, or the client's own reservation could refuse him.
      grant.refund();
      grant = await admit({ ...size, promptTokens: counted });
    }
    const budget = isTight ? (grant?.tokenBudget ?? null) : null;
    const tokenCap = budget === null ? null : capOf(budget, promptTokens, request);
    return { grant, promptTokens, tokenCap };
  } catch (error) {
    grant?.refund();
    throw error;
  }
}

/** Tokens of the prompt as guessed from its bytes; media make them far too many, so no more than a slot can hold. */
export function guessOf({ engine }: ExchangeContext, { work }: PipelineRequest): number {
  return Math.min(work.promptTokens, engine.current()?.facts.contextLength ?? work.promptTokens);
}

/** A token has at least one byte, so that nearly all prompts are known to fit without counting. */
function mayExceedContext({ engine }: ExchangeContext, { route, body }: PipelineRequest): boolean {
  const facts = engine.current()?.facts;
  return route.canStream && body !== null && facts !== undefined && body.length > facts.contextLength;
}

async function countOrNull(
  { engine }: ExchangeContext,
  request: PipelineRequest,
  signal: AbortSignal,
): Promise<number | null> {
  const current = engine.current();
  return current === null ? null : countPromptTokens(current, request, signal);
}

function refuseTooLong({ engine }: ExchangeContext, promptTokens: number): void {
  const contextLength = engine.current()?.facts.contextLength;
  if (contextLength === undefined || promptTokens < contextLength) return;
  throw new LlameroError(
    'context_length_exceeded',
    `The prompt has ${promptTokens} tokens; with its answer it has to fit a context of ${contextLength}.`,
    { details: { promptTokens, contextLength } },
  );
}

/** What the request may use at most, as far as known. */
function sizeOf(context: ExchangeContext, request: PipelineRequest): RateLimitedRequest {
  const { id, client, route, work } = request;
  const promptTokens = guessOf(context, request);
  const contextLength = context.engine.current()?.facts.contextLength ?? Infinity;
  const asked = Math.min(work.maxTokens ?? Infinity, Math.max(0, contextLength - promptTokens)) * work.sequences;
  return {
    id,
    client,
    promptTokens,
    maxTokens: Number.isFinite(asked) ? asked : null,
    countsTokens: route.needsSlot,
  };
}

/** Whether the client gets less than it asked for, or has so little left that the guess at the prompt might overdraw it. */
function isBudgetTight(grant: RateGrant, size: RateLimitedRequest, { route, work, body }: PipelineRequest): boolean {
  if (grant.tokenBudget === null || !route.canStream) return false;
  if (size.maxTokens === null || grant.tokenBudget < size.promptTokens + size.maxTokens) return true;
  const left = bindingWindow(grant.state.windows, 'tokens')?.remaining ?? Infinity;
  return left < (body?.length ?? 0) * work.sequences - size.promptTokens;
}

/** What may be generated for each sequence. The limits admit nobody who could not have at least one token. */
function capOf(tokenBudget: number, promptTokens: number, { work }: PipelineRequest): number | null {
  const cap = Math.max(1, Math.floor((tokenBudget - promptTokens) / work.sequences));
  return work.maxTokens !== null && work.maxTokens <= cap ? null : cap;
}
