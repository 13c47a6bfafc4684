import {
  type ChatAnswer,
  deltaOf,
  type FinishReason,
  type Generation,
  type StreamPart,
  type Timings,
} from './answers.ts';
import type { TokenCounts } from '../events.ts';
import { addToCall, type ToolCall, type ToolCallDelta } from './tool-calls.ts';

/**
 * Whole answers out of streams. llamero streams them inside, because llama-server notices at every token of a stream that
 * a client has gone, but without one only after a second in which no request at all got a result
 * (`tools/server/server-queue.cpp`, `server_response_reader::next`): a cancelled call would go on holding its slot.
 */

/** Reads a stream to its end. @throws whatever the stream throws. */
export async function foldGeneration(
  parts: AsyncIterable<StreamPart>,
  onPart?: (part: StreamPart) => void,
): Promise<Generation> {
  let text = '';
  let finishReason: FinishReason = 'stop';
  let usage: TokenCounts = { promptTokens: 0, completionTokens: 0, cachedTokens: 0 };
  let timings: Timings | null = null;
  for await (const part of parts) {
    text += part.text;
    finishReason = part.finishReason ?? finishReason;
    usage = part.usage ?? usage;
    timings = part.timings ?? timings;
    onPart?.(part);
  }
  return { text, finishReason, usage, timings };
}

/** The same for a chat: content, reasoning and tool calls are put together from their deltas. */
export async function foldChat(parts: AsyncIterable<StreamPart>): Promise<ChatAnswer> {
  const calls: ToolCall[] = [];
  let reasoning = '';
  const generation = await foldGeneration(parts, (part) => {
    reasoning += part.reasoning ?? '';
    const deltas = deltaOf(part.raw)['tool_calls'];
    if (Array.isArray(deltas)) for (const delta of deltas as ToolCallDelta[]) addToCall(calls, delta);
  });
  const message: Record<string, unknown> = { role: 'assistant', content: generation.text };
  if (reasoning !== '') message['reasoning_content'] = reasoning;
  if (calls.length > 0) message['tool_calls'] = calls;
  return { ...generation, message, toolCalls: calls };
}
