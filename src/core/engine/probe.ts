import type { Dispatcher } from 'undici';
import { LlameroError } from '../errors.ts';
import type { EngineFacts } from './engine-endpoint.ts';

/** A single probe must not hang where the server does. */
const PROBE_TIMEOUT_MS = 2000;

/** `/health`: 200 when the model is loaded, 503 while it loads; anything else is not a llama-server. */
export type Health = 'ready' | 'loading' | 'unreachable';

/** How a probe reaches the server. */
export interface ProbeTarget {
  readonly dispatcher: Dispatcher;
  readonly headers: Readonly<Record<string, string>>;
}

/** Asks `/health` once. Never throws but for the signal: no answer is an answer. */
export async function probeHealth(target: ProbeTarget, signal: AbortSignal): Promise<Health> {
  try {
    const { statusCode, body } = await get(target, '/health', signal);
    await body.dump();
    if (statusCode === 200) return 'ready';
    return statusCode === 503 ? 'loading' : 'unreachable';
  } catch (error) {
    if (signal.aborted) throw error;
    return 'unreachable';
  }
}

/**
 * Whether `/slots` is answered, which needs the loop that decodes; a refusal (`--no-slots`) counts as an answer. Never throws but for the
 * signal.
 */
export async function probeSlots(target: ProbeTarget, signal: AbortSignal): Promise<boolean> {
  try {
    const { body } = await get(target, '/slots', signal);
    await body.dump();
    return true;
  } catch (error) {
    if (signal.aborted) throw error;
    return false;
  }
}

/**
 * Reads `/props` once.
 * @throws LlameroError `engine_bad_response` when the answer is not one of a llama-server.
 */
export async function probeFacts(target: ProbeTarget, signal: AbortSignal): Promise<EngineFacts> {
  const { statusCode, body } = await get(target, '/props', signal);
  const text = await body.text();
  if (statusCode === 401) throw new LlameroError('engine_unavailable', 'The llama-server asks for an API key.');
  const facts = statusCode === 200 ? parseFacts(text) : null;
  if (facts === null)
    throw new LlameroError(
      'engine_bad_response',
      'The server answers /health but not /props: it is not a llama-server.',
    );
  return facts;
}

function parseFacts(text: string): EngineFacts | null {
  let properties: unknown;
  try {
    properties = JSON.parse(text);
  } catch {
    // Not JSON: not a llama-server.
    return null;
  }
  if (!isRecord(properties)) return null;
  const settings = properties['default_generation_settings'];
  const contextLength = isRecord(settings) ? settings['n_ctx'] : undefined;
  const slots = properties['total_slots'];
  if (typeof slots !== 'number' || typeof contextLength !== 'number') return null;
  return {
    model: modelName(properties),
    slots,
    contextLength,
    hasChatTemplate: typeof properties['chat_template'] === 'string' && properties['chat_template'] !== '',
    build: typeof properties['build_info'] === 'string' ? properties['build_info'] : 'unknown',
  };
}

function modelName(properties: Record<string, unknown>): string {
  if (typeof properties['model_alias'] === 'string' && properties['model_alias'] !== '')
    return properties['model_alias'];
  const file = typeof properties['model_path'] === 'string' ? properties['model_path'] : '';
  return file.split(/[/\\]/).at(-1) ?? file;
}

async function get(target: ProbeTarget, path: string, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
  return target.dispatcher.request({
    path,
    method: 'GET',
    headers: target.headers,
    signal,
    headersTimeout: PROBE_TIMEOUT_MS,
    bodyTimeout: PROBE_TIMEOUT_MS,
  });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
