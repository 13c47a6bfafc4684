import type { ReadyEngine } from './engine/engine-endpoint.ts';
import type { PipelineRequest } from './exchange.ts';
import { hasMedia } from './openai/continuation/plan-stream.ts';

type Fields = Record<string, unknown>;

/**
 * An engine that takes longer hangs, or has better things to do. The watch over the engines sees only requests that are at
 * one, so nothing may wait for an answer ahead of that for long.
 */
const ANSWER_TIMEOUT_MS = 5000;

/**
 * How many tokens the prompt of a request has, by the engine's own template and vocabulary. Takes no slot: llama-server
 * does this beside its decoding.
 *
 * @returns null where it cannot be told: media, several prompts, or an engine that does not know how or does not answer
 *   in time. Then the engine itself judges the prompt.
 * @throws the reason of the signal.
 */
export async function countPromptTokens(
  engine: ReadyEngine,
  request: PipelineRequest,
  signal: AbortSignal,
): Promise<number | null> {
  const { route, body, work } = request;
  if (body === null || work.sequences > 1) return null;
  try {
    switch (route.dialect) {
      case 'completion':
      case 'completions': {
        const { prompt } = JSON.parse(body.toString()) as Fields;
        return route.name !== 'infill' && typeof prompt === 'string' ? await countText(engine, prompt, signal) : null;
      }
      case 'chat': {
        const { messages, ...fields } = JSON.parse(body.toString()) as Fields;
        if (hasMedia(messages)) return null;
        const { prompt } = await ask(
          engine,
          '/apply-template',
          Buffer.from(JSON.stringify({ ...fields, messages, stream: false })),
          signal,
        );
        return typeof prompt === 'string' ? await countText(engine, prompt, signal) : null;
      }
      case 'messages':
      case 'responses': {
        const path = route.dialect === 'messages' ? '/v1/messages/count_tokens' : '/v1/responses/input_tokens';
        const { input_tokens: tokens } = await ask(engine, path, body, signal);
        return typeof tokens === 'number' ? tokens : null;
      }
      default:
        return null;
    }
  } catch (error) {
    if (signal.aborted) throw error;
    // It refuses the request, or is about to go: the request itself will show it.
    return null;
  }
}

async function countText(engine: ReadyEngine, text: string, signal: AbortSignal): Promise<number | null> {
  const body = Buffer.from(JSON.stringify({ content: text, add_special: true, parse_special: true }));
  const { tokens } = await ask(engine, '/tokenize', body, signal);
  return Array.isArray(tokens) ? tokens.length : null;
}

async function ask(engine: ReadyEngine, path: string, body: Buffer, signal: AbortSignal): Promise<Fields> {
  const headers = { 'content-type': 'application/json', ...engine.headers };
  const limits = { headersTimeout: ANSWER_TIMEOUT_MS, bodyTimeout: ANSWER_TIMEOUT_MS };
  const answer = await engine.dispatcher.request({ path, method: 'POST', headers, body, signal, ...limits });
  if (answer.statusCode !== 200) {
    await answer.body.dump();
    return {};
  }
  return (await answer.body.json()) as Fields;
}
