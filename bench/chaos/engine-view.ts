import { exchange } from './wire.ts';

/** What the engine itself counts. Asked for on its own socket, which nobody else knows. */
export interface EngineCounters {
  /** Prompt tokens that were read, cached ones excluded. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly generatedTokens: number;
  /** Requests in its own queue. */
  readonly deferred: number;
}

const ASK_MS = 1000;

/** null when it does not answer, as one that is frozen or gone. */
export async function engineCounters(socketPath: string): Promise<EngineCounters | null> {
  const text = await ask(socketPath, '/metrics');
  if (text === null) return null;
  const value = (name: string) => Number(new RegExp(`^llamacpp:${name} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
  return {
    promptTokens: value('prompt_tokens_total'),
    cachedTokens: value('prompt_tokens_cached_total'),
    generatedTokens: value('tokens_predicted_total'),
    deferred: value('requests_deferred'),
  };
}

/** How many of its slots are at work; null when it does not answer. */
export async function busySlots(socketPath: string): Promise<number | null> {
  const text = await ask(socketPath, '/slots');
  if (text === null) return null;
  return (JSON.parse(text) as { is_processing: boolean }[]).filter((slot) => slot.is_processing).length;
}

async function ask(socketPath: string, path: string): Promise<string | null> {
  const { status, body, complete } = await exchange({ to: { socketPath }, method: 'GET', path, deadlineMs: ASK_MS });
  return status === 200 && complete ? body.toString() : null;
}
