import assert from 'node:assert/strict';
import { dataOf, type DIALECTS, errorOf } from './served-engine.ts';

/** One of the dialects that tests ask in. */
export type TestDialect = (typeof DIALECTS)[number];

/** How a stream went, read to its end. */
export interface ReadStream {
  /** As it came. */
  readonly raw: string;
  readonly text: string;
  /** Codes of the error events. */
  readonly errors: readonly string[];
  /** Events that say how the answer ended. */
  readonly finishes: number;
  /** How often it says `[DONE]`. */
  readonly dones: number;
  /** Comments that tell of another engine. */
  readonly continued: number;
  /** Longest time between two pieces of text, from the first on, in ms. */
  readonly pauseMs: number;
}

const FINISH = /"finish_reason":"|"stop":true|"type":"message_stop"|"type":"response\.(?:completed|incomplete)"/g;

/** The text that one event brings. */
export function textOf(data: Record<string, unknown>): string {
  const { choices, content, delta, type } = data;
  if (typeof content === 'string') return content;
  if (type === 'response.output_text.delta') return String(delta);
  if (type === 'content_block_delta') return (delta as { text?: string }).text ?? '';
  const [choice] = (choices ?? []) as { text?: string; delta?: { content?: string | null } }[];
  return choice?.text ?? choice?.delta?.content ?? '';
}

/**
 * Reads a stream of events to its end.
 * @param onText told how many events with text came by now, at each of them.
 * @param onRaw told what came by now, at each piece of the network.
 */
export async function readStream(
  response: Response,
  onText: (count: number) => void = () => {},
  onRaw: (raw: string) => void = () => {},
): Promise<ReadStream> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let raw = '';
  let seen = 0;
  let text = '';
  let count = 0;
  let pauseMs = 0;
  let lastAt = 0;
  for await (const chunk of response.body as ReadableStream<Uint8Array>) {
    raw += decoder.decode(chunk, { stream: true });
    for (let end = raw.indexOf('\n\n', seen); end !== -1; end = raw.indexOf('\n\n', seen)) {
      const [data] = dataOf(raw.slice(seen, end));
      seen = end + 2;
      const piece = data === undefined ? '' : textOf(data);
      if (piece === '') continue;
      const now = performance.now();
      if (count > 0) pauseMs = Math.max(pauseMs, now - lastAt);
      lastAt = now;
      text += piece;
      count += 1;
      onText(count);
    }
    onRaw(raw);
  }
  assert.equal(seen, raw.length, `a stream ends behind an event: ${JSON.stringify(raw.slice(seen))}`);
  const errors = dataOf(raw).flatMap(({ error }) => (error === undefined ? [] : [codeOf(error)]));
  return {
    raw,
    text,
    errors,
    finishes: [...raw.matchAll(FINISH)].length,
    dones: raw.split('data: [DONE]\n\n').length - 1,
    continued: raw.split(': continued\n\n').length - 1,
    pauseMs,
  };
}

/** What stands for a stream in whose place an error came. */
export async function refusedStream(response: Response): Promise<ReadStream> {
  const { code } = await errorOf(response);
  return { raw: '', text: '', errors: [code], finishes: 0, dones: 0, continued: 0, pauseMs: 0 };
}

/** What is wrong with the form of an answer; null: it is one whole answer under one id. */
export function flawOf({ raw, errors, finishes, dones }: ReadStream, { name }: TestDialect): string | null {
  if (errors.length > 0) return `it has errors: ${errors.join(', ')}`;
  if (finishes !== 1) return `it has ${finishes} ends`;
  const hasDone = name === 'chat' || name === 'completions';
  if (dones !== (hasDone ? 1 : 0)) return `it has ${dones} [DONE]`;
  if (hasDone && !raw.endsWith('data: [DONE]\n\n')) return 'something comes behind [DONE]';
  const ids = new Set([...raw.matchAll(/"(?:id|item_id)":"((?:chatcmpl-|resp_|msg_|rs_)\w+)"/g)].map(([, id]) => id));
  const kinds = new Set([...ids].map((id) => id?.replace(/[-_].*/, '')));
  if (ids.size !== kinds.size) return `it has several ids: ${[...ids].join(', ')}`;
  const roles = raw.match(/"role":"assistant"/g)?.length ?? 0;
  return name === 'chat' && roles !== 1 ? `it has ${roles} roles` : null;
}

/** Throws unless it is one whole answer, and that text. */
export function assertWhole(stream: ReadStream, dialect: TestDialect, text: string): void {
  assert.equal(flawOf(stream, dialect), null, stream.raw.slice(-2000));
  assert.equal(stream.text, text);
}

/** Throws unless it ends in one error event, of one of those codes, and does not look complete. */
export function assertFailed(stream: ReadStream, codes: RegExp): void {
  const { raw, errors, finishes, dones } = stream;
  assert.deepEqual([errors.length, finishes, dones], [1, 0, 0], raw.slice(-2000));
  assert.match(errors[0] ?? '', codes);
  assert.ok('error' in (dataOf(raw).at(-1) ?? {}), 'the error is the last event');
}

/** The token counts that a stream tells, in the terms of its dialect; what was cached aside. */
export function usageOf({ raw }: ReadStream): unknown {
  const found: Record<string, unknown> = {};
  for (const data of dataOf(raw)) {
    const { response, message } = data as { response?: { usage?: object }; message?: { usage?: object } };
    const places = [data, data['usage'], response?.usage, message?.usage];
    for (const place of places) {
      for (const [key, value] of Object.entries(place ?? {})) {
        if (/^(prompt|completion|total|output)_tokens$|^tokens_(predicted|evaluated)$/.test(key)) found[key] = value;
      }
    }
  }
  return found;
}

function codeOf(error: unknown): string {
  const { code, type } = error as { code?: string; type?: string };
  return code ?? type ?? 'unnamed';
}
