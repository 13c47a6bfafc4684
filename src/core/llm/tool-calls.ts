/** A tool call in the form of OpenAI's chat completions; `arguments` is JSON text. */
export interface ToolCall {
  id?: string;
  readonly type: 'function';
  readonly function: { name: string; arguments: string };
}

/** A piece of a tool call in a stream. */
export interface ToolCallDelta {
  readonly index?: number;
  readonly id?: string;
  readonly function?: { readonly name?: string; readonly arguments?: string };
}

/** Deltas of one call share an index; the first has id and name, all have pieces of the arguments. */
export function addToCall(calls: ToolCall[], delta: ToolCallDelta): void {
  const index = delta.index ?? 0;
  const call = (calls[index] ??= { type: 'function', function: { name: '', arguments: '' } });
  if (delta.id !== undefined) call.id = delta.id;
  call.function.name += delta.function?.name ?? '';
  call.function.arguments += delta.function?.arguments ?? '';
}
