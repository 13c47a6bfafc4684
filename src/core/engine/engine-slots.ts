import type { ProbeTarget } from './probe.ts';

/** Moving several GB to a slow disk takes this long; a slot that became busy meanwhile would be waited for otherwise. */
const ACTION_TIMEOUT_MS = 15_000;
const LIST_TIMEOUT_MS = 2000;

/** A slot as `/slots` shows it. */
export interface EngineSlot {
  readonly id: number;
  readonly busy: boolean;
  /** Tokens in its cache; null where it does not tell, as before the first request since its start. */
  readonly tokens: number | null;
}

/** What a save or a restore did (`server_task_result_slot_save_load`, tools/server/server-task.cpp). */
export interface SlotAction {
  readonly tokens: number;
  readonly bytes: number;
}

/** Reads `/slots`. @throws Error with the reason, when it is not answered or forbidden (`--no-slots`). */
export async function listSlots(target: ProbeTarget, signal: AbortSignal): Promise<EngineSlot[]> {
  const answer = await ask(target, '/slots', null, LIST_TIMEOUT_MS, signal);
  if (!Array.isArray(answer)) throw new Error('the engine does not tell of its slots');
  return (answer as Record<string, unknown>[]).map((slot) => ({
    id: Number(slot['id']),
    busy: slot['is_processing'] === true,
    tokens: typeof slot['n_prompt_tokens'] === 'number' ? slot['n_prompt_tokens'] : null,
  }));
}

/**
 * Writes the cache of an idle slot to `file` in the directory that the engine was started with.
 * @throws Error with the reason: a model with images or audio cannot, a full disk.
 */
export async function saveSlot(
  target: ProbeTarget,
  id: number,
  file: string,
  signal: AbortSignal,
): Promise<SlotAction> {
  return slotAction(await act(target, id, 'save', { filename: file }, signal), 'n_saved', 'n_written');
}

/** Reads it back into an idle slot. @throws Error with the reason; then the slot is empty. */
export async function restoreSlot(
  target: ProbeTarget,
  id: number,
  file: string,
  signal: AbortSignal,
): Promise<SlotAction> {
  return slotAction(await act(target, id, 'restore', { filename: file }, signal), 'n_restored', 'n_read');
}

/** Empties an idle slot. @throws Error with the reason. */
export async function eraseSlot(target: ProbeTarget, id: number, signal: AbortSignal): Promise<void> {
  await act(target, id, 'erase', {}, signal);
}

function act(
  target: ProbeTarget,
  id: number,
  action: 'save' | 'restore' | 'erase',
  body: object,
  signal: AbortSignal,
): Promise<unknown> {
  return ask(target, `/slots/${id}?action=${action}`, JSON.stringify(body), ACTION_TIMEOUT_MS, signal);
}

async function ask(
  { dispatcher, headers }: ProbeTarget,
  path: string,
  body: string | null,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<unknown> {
  const answer = await dispatcher.request({
    path,
    method: body === null ? 'GET' : 'POST',
    headers: { ...headers, ...(body === null ? {} : { 'content-type': 'application/json' }) },
    body,
    signal,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
  });
  const text = await answer.body.text();
  if (answer.statusCode !== 200) throw new Error(`the engine answered ${answer.statusCode}: ${messageOf(text)}`);
  return JSON.parse(text);
}

function slotAction(answer: unknown, tokensKey: string, bytesKey: string): SlotAction {
  const { [tokensKey]: tokens, [bytesKey]: bytes } = (answer ?? {}) as Record<string, unknown>;
  if (typeof tokens !== 'number' || typeof bytes !== 'number') throw new Error('the engine answered something else');
  return { tokens, bytes };
}

/** The reason in an error body of llama-server; the body may be anything. */
function messageOf(text: string): string {
  const message = /"message"\s*:\s*"([^"]{0,200})/.exec(text)?.[1];
  return message ?? 'no reason given';
}
