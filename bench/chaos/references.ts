import type { References } from './judge-answer.ts';
import { parse, wholeTexts } from './judge-stream.ts';
import { LONGEST_ANSWER, type PlannedDialect, type PlannedRequest, PROMPTS } from './plan.ts';
import { writeRequest } from './requests.ts';
import type { Serve } from './serve.ts';
import { exchange } from './wire.ts';

const DEADLINE_MS = 60_000;

/** Asks, while nothing disturbs, for what the model answers to every prompt. @throws Error when it does not. */
export async function learnReferences(serve: Serve): Promise<References> {
  const prompts = Array.from({ length: PROMPTS }, (_, prompt) => prompt);
  const [chat, plain, embeddings] = await Promise.all([
    inTurn(prompts, (prompt) => textOf(serve, 'chat', prompt)),
    inTurn(prompts, (prompt) => textOf(serve, 'completion', prompt)),
    inTurn(prompts, (prompt) => embeddingOf(serve, prompt)),
  ]);
  return { chat, plain, embeddings };
}

/** A request of the run itself. */
export function ownRequest(part: Pick<PlannedRequest, 'kind' | 'dialect' | 'prompt' | 'tokens'>): PlannedRequest {
  return { ...part, caller: 'plain', probabilities: 0, sequences: 1, headers: {}, leave: null, stall: null };
}

async function textOf(serve: Serve, dialect: PlannedDialect, prompt: number): Promise<string> {
  const planned = ownRequest({ kind: 'whole', dialect, prompt, tokens: LONGEST_ANSWER });
  const text = wholeTexts(dialect, await ask(serve, planned))?.[0];
  if (text === undefined) throw new Error('the model does not answer');
  return text.replace(/\uFFFD+$/, '');
}

async function embeddingOf(serve: Serve, prompt: number): Promise<readonly number[]> {
  const answer = await ask(serve, ownRequest({ kind: 'embedding', dialect: 'chat', prompt, tokens: 0 }));
  return (answer?.['data'] as { embedding: number[] }[] | undefined)?.[0]?.embedding ?? [];
}

async function ask(serve: Serve, planned: PlannedRequest): Promise<Record<string, unknown> | null> {
  const headers = { authorization: serve.authorization.admin, 'content-type': 'application/json' };
  const to = { port: serve.port };
  const { status, body } = await exchange({
    to,
    ...writeRequest(planned, 'reference'),
    headers,
    deadlineMs: DEADLINE_MS,
  });
  if (status !== 200) throw new Error(`no reference: ${status} ${body.toString()}`);
  return parse(body.toString());
}

async function inTurn<Item, Result>(items: readonly Item[], work: (item: Item) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  for (const item of items) results.push(await work(item));
  return results;
}
